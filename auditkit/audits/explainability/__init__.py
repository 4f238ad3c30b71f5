"""Why does the subject decide as it does?"""
