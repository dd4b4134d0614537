"""What the analyses (`monitor`, `quality`, `bias`, `explain`) share: settings, the rows they read, what they leave.

None of them imports another, and nothing here imports one of them.
"""
