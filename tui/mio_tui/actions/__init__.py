"""What can be done with a run. In: the runs that are meant. Out: the list of it, which the menu, the palette and the
help show, and its being done: by a command of `mio-local` where it takes longer than a moment."""
