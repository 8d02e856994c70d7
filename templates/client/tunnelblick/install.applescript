-- Install the .tblk at the path in the first argument for this user: true or false. Since
-- Tunnelblick 4.0. It waits for an administrator's password, hence the long timeout.
on run argv
	with timeout of 600 seconds
		tell application id "net.tunnelblick.tunnelblick" to install private configurations {item 1 of argv}
	end timeout
end run
