-- Start Tunnelblick, if it does not run. Returns before it has started.
on run
	tell application id "net.tunnelblick.tunnelblick" to launch
end run
