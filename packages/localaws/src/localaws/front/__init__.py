"""The one port: HTTP, signatures, dispatch, moto's services, the status page."""
