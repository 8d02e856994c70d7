-- Disconnect the configuration that the first argument names: true, or false if it was not
-- connected. Returns before the connection has ended.
on run argv
	with timeout of 60 seconds
		tell application id "net.tunnelblick.tunnelblick" to disconnect (item 1 of argv)
	end timeout
end run
