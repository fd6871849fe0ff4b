"""`python -m mio_local`, as torchrun begins its ranks."""

from mio_local.cli import main

main()
