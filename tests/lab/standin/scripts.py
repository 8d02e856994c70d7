"""The scripts that the stand-in understands, word for word.

They are written out here a second time on purpose: a changed script in ``templates/`` is refused
until somebody has compared it with Tunnelblick's dictionary and changed it here as well.
"""

from __future__ import annotations

_TELL = 'tell application id "net.tunnelblick.tunnelblick"'

SCRIPTS = {
    "configurations": f"""on run
	if application id "net.tunnelblick.tunnelblick" is not running then return "not running"
	{_TELL}
		set theNames to name of every configuration
		set theStates to state of every configuration
	end tell
	set theLines to {{"running"}}
	repeat with i from 1 to count of theNames
		set end of theLines to (item i of theStates) & tab & (item i of theNames)
	end repeat
	set AppleScript's text item delimiters to linefeed
	return theLines as text
end run""",
    "connect": f"""on run argv
	with timeout of 120 seconds
		{_TELL} to connect (item 1 of argv)
	end timeout
end run""",
    "disconnect": f"""on run argv
	with timeout of 60 seconds
		{_TELL} to disconnect (item 1 of argv)
	end timeout
end run""",
    "install": f"""on run argv
	with timeout of 600 seconds
		{_TELL} to install private configurations {{item 1 of argv}}
	end timeout
end run""",
    "launch": f"""on run
	{_TELL} to launch
end run""",
}
"""Command to the script's text, without comments."""

ARGUMENTS = {"configurations": 0, "connect": 1, "disconnect": 1, "install": 1, "launch": 0}


def recognise(text: str) -> str | None:
    """Which command a script is; None if macnet should not send such a script."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("--")]
    plain = "\n".join(lines)
    return next((name for name, script in SCRIPTS.items() if script == plain), None)
