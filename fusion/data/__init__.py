"""Data: patch files, folders of pairs, saliency masks, which samples make a batch; the pair doctor; downloads.

Nothing is imported here: the doctor serves programs that do without PyTorch, which the data sets load.
"""
