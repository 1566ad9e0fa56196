// Plugins > Blinkcore > Blinkcore Settings: where the program is, and the usual model.

requires("1.53t");
program = "blinkcore";
command = call("ij.Prefs.get", "blinkcore.command", program);
favourite = call("ij.Prefs.get", "blinkcore.model", "general");
models = modelNames(exec(command, "models", "--format", "json"));
own = given();
if (own != "" && !contains(models, own)) models = Array.concat(models, own);
if (!contains(models, favourite)) models = Array.concat(newArray(favourite), models);
Dialog.create("Blinkcore Settings");
Dialog.addFile("Command", command);
Dialog.addMessage("The path of the blinkcore program, or just 'blinkcore' if it is found by itself.");
Dialog.addChoice("Model", models, favourite);
Dialog.addFile("Model_file", "");
Dialog.addMessage("A .pt file of your own, instead of a model of the list.");
Dialog.show();
command = Dialog.getString();
model = Dialog.getChoice();
file = Dialog.getString();
if (file != "") model = file;
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

// Names of the models in the answer of `blinkcore models --format json`.
function modelNames(text) {
	lines = split(text, "\n");
	names = newArray(0);
	for (i = 0; i < lines.length; i++) {
		// Only names of models are one step in and open a record.
		if (matches(lines[i], " \"[^\"]+\": \\{"))
			names = Array.concat(names, substring(lines[i], 2, indexOf(lines[i], "\":")));
	}
	return names;
}

// A model that a macro names, such as a file: a menu takes only what it holds.
function given() {
	options = "" + call("ij.Macro.getOptions") + " ";
	if (indexOf(options, "model=") < 0) return "";
	rest = substring(options, indexOf(options, "model=") + 6);
	if (startsWith(rest, "[")) return substring(rest, 1, indexOf(rest, "]"));
	return substring(rest, 0, indexOf(rest, " "));
}

function contains(names, name) {
	for (i = 0; i < names.length; i++) if (names[i] == name) return true;
	return false;
}
