"""The one port: HTTP, signatures, dispatch, the status page.

It knows the operations by name only, from `registry`. `serving.runtime` answers with its tools, `server` starts it.
"""
