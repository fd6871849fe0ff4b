"""One run on several devices, a process to each, which are its ranks. In: a backend, and how many. Out: a model like
any other, whose work all ranks share: rank 0 trains, and the others do their share of each call of its model."""
