"""Many pictures: folders of any size, shared among processes, with a record of what is finished."""
