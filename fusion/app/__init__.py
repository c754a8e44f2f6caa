"""The app: a page in the browser, served from this machine, that fuses the pictures dropped on it.

`work.py` does what is asked of a pair; `processes.py` has it done in processes that can be stopped; `sessions.py` knows
which files are whose and takes them away; `interface.py` is the page, in Gradio.
"""
