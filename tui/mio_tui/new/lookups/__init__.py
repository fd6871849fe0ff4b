"""What is looked up for the form in the folder of runs: who trains there, how long runs take, what they used."""
