// Plugins > Blinkcore > Detect Spots: finds the spots of the active image with blinkcore.
//
// Runs the blinkcore program and shows what it wrote: a multi-point selection with the
// place of each point in the stack, an overlay, a table. No detection happens here.
// As a macro: run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
// Works in ImageJ 1.53t and later. ASCII only: ImageJ reads macros in its own encoding.

requires("1.53t");
if (nImages == 0) exit("blinkcore: open an image first.");
imageId = getImageID();
program = "blinkcore";
command = call("ij.Prefs.get", "blinkcore.command", program);
answer = exec(command, "models", "--format", "json");
models = modelNames(answer);
if (models.length == 0) exit("blinkcore: " + missing(command, answer));
favourite = call("ij.Prefs.get", "blinkcore.model", models[0]);
getDimensions(width, height, channels, slices, frames);

// That of the settings stands first where it is a file.
choices = models;
if (indexOf("," + String.join(models, ",") + ",", "," + favourite + ",") < 0)
	choices = Array.concat(newArray(favourite), models);

Dialog.create("Detect Spots (blinkcore)");
Dialog.addChoice("Model", choices, favourite);
Dialog.addFile("Model_file", "");
Dialog.addMessage("A .pt file of your own, instead of a model of the list.");
Dialog.addString("Threshold", "auto");
Dialog.addMessage("0 to 1; auto: the model's own.");
Dialog.addNumber("Channel", 0, 0, 4, "of " + channels + ", 0 for all");
Dialog.addNumber("Measure", 0, 1, 4, "px, radius of the disk; 0 for no intensities");
Dialog.addCheckbox("Overlay", true);
Dialog.addCheckbox("Manager", false);
Dialog.addHelp("<html><h3>Detect Spots</h3><b>Model</b>: blinkcore models show NAME tells what it was trained on.<br>"
	+ "<b>Threshold</b>: the probability above which a spot counts. Lower finds more.<br>"
	+ "<b>Measure</b>: sums the light in a disk around each spot, less the background.<br>"
	+ "<b>Overlay</b>, <b>Manager</b>: the spots also there, besides the selection and the table.<br><br>"
	+ "All images of a folder: Plugins &gt; Blinkcore &gt; Detect Spots in Folder.</html>");
Dialog.show();
model = Dialog.getChoice();
own = Dialog.getString();
if (own != "") model = own;
threshold = Dialog.getString();
channel = Dialog.getNumber();
radius = Dialog.getNumber();
wantsOverlay = Dialog.getCheckbox();
wantsManager = Dialog.getCheckbox();

if (channel > channels) exit("blinkcore: the image has " + channels + " channels; there is no channel " + channel + ".");
if (threshold != "auto" && threshold != "" && isNaN(parseFloat(threshold)))
	exit("blinkcore: the threshold must be a number like 0.5, or auto; got " + threshold);

// Whatever happens now, nothing of an earlier run must be taken for this one's.
forgetOlderSpots();
folder = newFolder();
if (folder == "") exit("blinkcore: no temporary folder can be made.");
saveCopy(folder + "image.tif");
arguments = "predict\n" + folder + "image.tif\n--output\n" + folder + "spots\n--format\ncsv,roi\n"
	+ "--progress\njson\n--status\n" + folder + "status.json\n--model\n" + model + "\n";
if (threshold != "auto" && threshold != "") arguments += "--threshold\n" + threshold + "\n";
if (channel > 0) arguments += "--channel\n" + d2s(channel - 1, 0) + "\n";
if (radius > 0) arguments += "--radius\n" + radius + "\n";
showStatus("blinkcore: looking for spots ...");
problem = runBlinkcore(command, folder, arguments);
if (problem != "") {
	removeFolder(folder);
	exit("blinkcore: " + problem);
}

selectImage(imageId);
n = showTable(folder + "spots" + File.separator + "image.csv");
if (n == 0) {
	run("Select None");
} else {
	open(folder + "spots" + File.separator + "image.roi");
	Roi.setName("blinkcore");
	if (getImageID() != imageId) {
		// ImageJ shows a selection that does not fit on an image of its own.
		close();
		selectImage(imageId);
		exit("blinkcore: the spots are in the table, but ImageJ could not show them.");
	}
	if (wantsOverlay) {
		Overlay.addSelection("yellow");
		Overlay.show;
	}
	if (wantsManager && call("java.awt.GraphicsEnvironment.isHeadless") == "false") {
		roiManager("add");
	}
}
removeFolder(folder);
said = "blinkcore: " + n + " spots";
if (slices > 1) said += " in " + slices + " planes";
showStatus(said);

// Removes our own selection, our part of the overlay and the rows of our table.
function forgetOlderSpots() {
	if (selectionType() == 10) {
		if (Roi.getName == "blinkcore") run("Select None");
	}
	if (Overlay.size > 0) Overlay.removeRois("blinkcore");
	Table.create("Spots");
	selectImage(imageId);
}

// Saves a copy: saving the image itself would make ImageJ forget where it came from and that
// it was changed.
function saveCopy(path) {
	hadSelection = selectionType() >= 0;
	wasBatch = is("Batch Mode");
	if (!wasBatch) setBatchMode(true);
	run("Select None");
	run("Duplicate...", "title=image duplicate");
	save(path);
	close();
	selectImage(imageId);
	if (hadSelection) run("Restore Selection");
	if (!wasBatch) setBatchMode(false);
}

// Names of the models in the program's answer; none if it is no such answer.
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

function missing(command, answer) {
	if (answer != "" && !startsWith(answer, "Cannot run program"))
		return "unexpected answer of '" + command + "': " + answer;
	return "the program '" + command + "' was not found. Install it as its README says "
		+ "and set its path in Plugins > Blinkcore > Blinkcore Settings.";
}

// A folder of this run alone: results of an earlier one can never be taken for its own.
function newFolder() {
	path = getDirectory("temp") + "blinkcore-" + d2s(getTime(), 0) + "-" + d2s(1e9 * random, 0);
	File.makeDirectory(path);
	if (!File.isDirectory(path)) return "";
	return path + File.separator;
}

function removeFolder(folder) {
	names = getFileList(folder);
	for (i = 0; i < names.length; i++) {
		path = folder + names[i];
		if (endsWith(names[i], "/")) removeFolder(path);
		ok = File.delete(path);
	}
	if (File.exists(folder)) ok = File.delete(folder);
}

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

// Fills the table "Spots" and gives the number of rows. Places count from 1, as in ImageJ.
function showTable(path) {
	lines = split(File.openAsString(path), "\n");
	header = split(lines[0], ",");
	n = lines.length - 1;
	getPixelSize(unit, pixelWidth, pixelHeight);
	isCalibrated = (unit != "pixel" && unit != "pixels");
	Table.create("Spots");
	for (column = 0; column < header.length; column++) {
		name = header[column];
		if (name == "image" || endsWith(name, "_um")) continue;
		values = newArray(n);
		for (i = 0; i < n; i++) {
			fields = split(lines[i + 1], ",");
			values[i] = parseFloat(fields[fields.length - header.length + column]);
		}
		if (name == "frame" || name == "channel" || name == "z") {
			for (i = 0; i < n; i++) values[i] += 1;
			if (name == "z") name = "slice";
		}
		Table.setColumn(name, values);
		if (isCalibrated && (name == "x" || name == "y")) {
			scale = pixelWidth;
			if (name == "y") scale = pixelHeight;
			scaled = newArray(n);
			for (i = 0; i < n; i++) scaled[i] = values[i] * scale;
			Table.setColumn(name + " (" + unit + ")", scaled);
		}
	}
	Table.update;
	return n;
}
