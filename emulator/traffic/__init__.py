"""Traffic without daemons: both ends are sockets of this program in the CVMs' networks, so what is sent is known."""
