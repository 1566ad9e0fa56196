// Plugins > Blinkcore > Blinkcore Settings: where the program is, and the usual model.

requires("1.53t");
Dialog.create("Blinkcore Settings");
Dialog.addFile("Command", call("ij.Prefs.get", "blinkcore.command", "blinkcore"));
Dialog.addMessage("The path of the blinkcore program, or just 'blinkcore' if it is found by itself.");
Dialog.addString("Model", call("ij.Prefs.get", "blinkcore.model", "general"), 24);
Dialog.show();
command = Dialog.getString();
model = Dialog.getString();
version = exec(command, "--version");
if (startsWith(version, "Cannot run program"))
	exit("blinkcore: there is no program '" + command + "'. Install it as its README says, and "
		+ "give its path here ('which blinkcore' in a terminal tells it, 'where blinkcore' on Windows).");
if (!startsWith(version, "blinkcore "))
	exit("blinkcore: '" + command + "' is not the blinkcore program. It answered: " + version);
call("ij.Prefs.set", "blinkcore.command", command);
call("ij.Prefs.set", "blinkcore.model", model);
call("ij.Prefs.savePreferences");
showStatus(version);
