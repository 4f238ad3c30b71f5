"""What can be measured. One audit is one file."""
