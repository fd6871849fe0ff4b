"""What the page "Make pairs" is made of: its fields' values and rules, what is offered, the command at work."""
