"""What does the subject cost to run?"""
