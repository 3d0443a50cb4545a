"""
Around calls: their exceptions are logged, and their records know whose they are.

``log_exception`` for functions and blocks, ``bind`` for what all records of a request
share, ``install`` for what nobody caught.  None of it holds a lock, so all of it is
safe in signal handlers, finalizers and forked children (Q5, Q6).
"""
