"""Where a person is: a module for each place, how it is erased and what it has to give out."""
