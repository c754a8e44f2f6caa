"""The app: a page in the browser, served from this machine, that fuses the pictures dropped on it.

`messages.py` is what can be asked and answered; `work.py` does it for a pair of pictures, `moving.py` for two videos,
`sets.py` for two folders;
`processes.py` has it done in processes that can be stopped; `sessions.py` knows
which files are whose and takes them away; `interface.py` is the page, in Gradio.
"""
