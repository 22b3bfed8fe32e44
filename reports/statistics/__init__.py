"""Which difference is real, and how sure are we?"""
