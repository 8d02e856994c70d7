-- Connect the configuration that the first argument names: true, or false if it was connected.
-- A dialog of Tunnelblick ("another VPN is connected") keeps this waiting for its answer.
on run argv
	with timeout of 120 seconds
		tell application id "net.tunnelblick.tunnelblick" to connect (item 1 of argv)
	end timeout
end run
