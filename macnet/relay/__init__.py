"""The programs that run inside the helper's containers, not on the Mac.

The image gets these files as they are and runs them with Debian's python3-minimal, so they import
nothing but its part of the standard library and each other. The command line must not import them.

`supervisor` is the relay's main program: it finds the server, and keeps the ways from it running,
that into the VM's namespace and those into the namespaces that joiners hold open (`joined`). Each
`way` has pasta (UDP and ping) and a TCP lane. `lane` carries TCP: the kernel ends each connection
in the server's network namespace, the lane opens the onward one in its own, and moves bytes
between the two with splice(2). `management` asks OpenVPN in the server.
"""
