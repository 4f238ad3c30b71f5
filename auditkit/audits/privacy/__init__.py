"""What does the subject give away about its training data?"""
