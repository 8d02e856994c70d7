-- What Tunnelblick has, without starting it: "running" or "not running", then one line per
-- configuration with its state, a tab and its name (which cannot hold a tab or a line end).
on run
	if application id "net.tunnelblick.tunnelblick" is not running then return "not running"
	tell application id "net.tunnelblick.tunnelblick"
		set theNames to name of every configuration
		set theStates to state of every configuration
	end tell
	set theLines to {"running"}
	repeat with i from 1 to count of theNames
		set end of theLines to (item i of theStates) & tab & (item i of theNames)
	end repeat
	set AppleScript's text item delimiters to linefeed
	return theLines as text
end run
