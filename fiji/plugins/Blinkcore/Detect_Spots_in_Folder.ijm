// Plugins > Blinkcore > Detect Spots in Folder: all images of a folder, without opening them.
// As a macro: run("Detect Spots in Folder", "images=/data output=/results model=general threshold=auto format=csv,roi pictures");

requires("1.53t");
program = "blinkcore";
command = call("ij.Prefs.get", "blinkcore.command", program);
favourite = call("ij.Prefs.get", "blinkcore.model", "general");
models = modelNames(exec(command, "models", "--format", "json"));
own = given();
if (own != "" && !contains(models, own)) models = Array.concat(models, own);
if (!contains(models, favourite)) models = Array.concat(newArray(favourite), models);
Dialog.create("Detect Spots in Folder (blinkcore)");
Dialog.addDirectory("Images", "");
Dialog.addDirectory("Output", "");
Dialog.addMessage("Folders. Results of an earlier run with the same options are kept.");
Dialog.addChoice("Model", models, favourite);
Dialog.addFile("Model_file", "");
Dialog.addMessage("A .pt file of your own, instead of a model of the list.");
Dialog.addString("Threshold", "auto");
Dialog.addString("Format", "csv,roi", 24);
Dialog.addMessage("csv, roi, xml (TrackMate), geojson (QuPath), ...; several with commas.");
Dialog.addCheckbox("Pictures", true);
Dialog.show();
images = Dialog.getString();
output = Dialog.getString();
model = Dialog.getChoice();
file = Dialog.getString();
if (file != "") model = file;
threshold = Dialog.getString();
format = Dialog.getString();
if (threshold != "auto" && threshold != "" && isNaN(parseFloat(threshold)))
	exit("blinkcore: the threshold must be a number like 0.5, or auto; got " + threshold);
if (images == "" || output == "") exit("blinkcore: give the folder of the images and one for the results.");

folder = getDirectory("temp") + "blinkcore-" + d2s(getTime(), 0) + "-" + d2s(1e9 * random, 0) + File.separator;
File.makeDirectory(folder);
arguments = "predict\n" + images + "\n--output\n" + output + "\n--format\n" + format + "\n--status\n"
	+ folder + "status.json\n--progress\njson\n--model\n" + model + "\n--skip-existing\n";
if (threshold != "auto" && threshold != "") arguments += "--threshold\n" + threshold + "\n";
if (Dialog.getCheckbox()) arguments += "--overlay\n" + output + "\n";
showStatus("blinkcore: looking for spots ...");
problem = runBlinkcore(command, folder, arguments);
status = "";
if (File.exists(folder + "status.json")) status = File.openAsString(folder + "status.json");
names = getFileList(folder);
for (i = 0; i < names.length; i++) ok = File.delete(folder + names[i]);
ok = File.delete(folder);
if (startsWith(problem, "Cannot run program"))
	problem = "the program '" + command + "' was not found. Install it as its README says "
		+ "and set its path in Plugins > Blinkcore > Blinkcore Settings.";
if (problem != "") exit("blinkcore: " + problem);
lines = split(status, "\n");
spots = "0";
for (i = 0; i < lines.length; i++) {
	if (startsWith(lines[i], " \"spots\": ")) spots = replace(substring(lines[i], 10), ",", "");
}
print("blinkcore: " + spots + " new spots, written to " + output);

// Runs the program and gives "" or the sentence that it failed with. exec() would wait to its
// end, and tells neither its error output nor its exit code; so it goes on alone, its planes and
// images are shown in the progress bar, and the status file decides. The arguments go through
// a file: names with spaces and quotes then pass on every system.
// (Detect Spots and Detect Spots in Folder both hold these functions: runMacro would close the
// images of a macro in batch mode.)
function runBlinkcore(command, folder, arguments) {
	File.saveString("detach\n" + folder + "\n" + arguments, folder + "arguments.txt");
	File.saveString("", folder + "waiting");
	answer = exec(command, "@" + folder + "arguments.txt");
	if (answer != "") return answer;
	said = waitForEnd(folder);
	if (!File.exists(folder + "status.json"))
		return "the program '" + command + "' ended without a result: " + said;
	status = File.openAsString(folder + "status.json");
	if (indexOf(status, "\n \"ok\": true") >= 0) return "";
	lines = split(status, "\n");
	for (i = 0; i < lines.length; i++) {
		if (startsWith(lines[i], " \"error\": \"")) {
			sentence = substring(lines[i], 11, lastIndexOf(lines[i], "\""));
			return replace(sentence, "\\\\\"", "\"");
		}
	}
	return "it failed, and did not say why.";
}

// Gives the last line that the program printed. Where the macro is stopped by Escape, the
// program notices that the file "waiting" is not written any more, and stops, too.
function waitForEnd(folder) {
	last = "";
	start = getTime();
	while (!startsWith(last, "exit ")) {
		File.saveString("", folder + "waiting");
		wait(200);
		if (!File.exists(folder + "progress.txt")) {
			if (File.exists(folder + "status.json")) return "its version is another one than that of this macro.";
			if (getTime() - start > 60000) return "it did not start within a minute.";
			continue;
		}
		if (File.length(folder + "progress.txt") == 0) continue;
		lines = split(File.openAsString(folder + "progress.txt"), "\n");
		last = lines[lines.length - 1];
		if (!endsWith(last, "}")) continue;
		if (indexOf(last, "\"event\": \"plane\"") >= 0) showCount(last, "planes");
		if (indexOf(last, "\"event\": \"tile\"") >= 0) showCount(last, "tiles");
		if (indexOf(last, "\"event\": \"progress\"") >= 0) showCount(last, "images");
	}
	showProgress(1, 1);
	wait(100);  // until the files are closed
	if (lines.length < 2) return last;
	return lines[lines.length - 2];
}

function showCount(line, what) {
	done = numberAfter(line, "\"done\": ");
	total = numberAfter(line, "\"total\": ");
	if (total < 2) return;
	showProgress(done, total);
	showStatus("blinkcore: " + done + " of " + total + " " + what);
}

function numberAfter(line, name) {
	rest = substring(line, indexOf(line, name) + lengthOf(name));
	return parseFloat(replace(rest, "[^0-9].*", ""));
}

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
