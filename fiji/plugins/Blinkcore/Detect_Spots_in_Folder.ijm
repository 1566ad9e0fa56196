// Plugins > Blinkcore > Detect Spots in Folder: all images of a folder, without opening them.
// As a macro: run("Detect Spots in Folder", "images=/data output=/results model=general threshold=auto format=csv,roi pictures");

requires("1.53t");
command = call("ij.Prefs.get", "blinkcore.command", "blinkcore");
Dialog.create("Detect Spots in Folder (blinkcore)");
Dialog.addDirectory("Images", "");
Dialog.addDirectory("Output", "");
Dialog.addMessage("Folders. Results of an earlier run with the same options are kept.");
Dialog.addString("Model", call("ij.Prefs.get", "blinkcore.model", "general"), 24);
Dialog.addString("Threshold", "auto");
Dialog.addString("Format", "csv,roi", 24);
Dialog.addMessage("csv, roi, xml (TrackMate), geojson (QuPath), ...; several with commas.");
Dialog.addCheckbox("Pictures", true);
Dialog.show();
images = Dialog.getString();
output = Dialog.getString();
model = Dialog.getString();
threshold = Dialog.getString();
format = Dialog.getString();
if (threshold != "auto" && threshold != "" && isNaN(parseFloat(threshold)))
	exit("blinkcore: the threshold must be a number like 0.5, or auto; got " + threshold);
if (images == "" || output == "") exit("blinkcore: give the folder of the images and one for the results.");

folder = getDirectory("temp") + "blinkcore-" + d2s(getTime(), 0) + "-" + d2s(1e9 * random, 0) + File.separator;
File.makeDirectory(folder);
arguments = "predict\n" + images + "\n--output\n" + output + "\n--format\n" + format + "\n--status\n"
	+ folder + "status.json\n--model\n" + model + "\n--skip-existing\n";
if (threshold != "auto" && threshold != "") arguments += "--threshold\n" + threshold + "\n";
if (Dialog.getCheckbox()) arguments += "--overlay\n" + output + "\n";
File.saveString(arguments, folder + "arguments.txt");
showStatus("blinkcore: looking for spots ...");
answer = exec(command, "@" + folder + "arguments.txt");
if (!File.exists(folder + "status.json")) {
	ok = File.delete(folder + "arguments.txt");
	ok = File.delete(folder);
	if (answer == "" || startsWith(answer, "Cannot run program"))
		answer = "the program '" + command + "' was not found. Install it as its README says "
			+ "and set its path in Plugins > Blinkcore > Blinkcore Settings.";
	exit("blinkcore: " + answer);
}
status = File.openAsString(folder + "status.json");
ok = File.delete(folder + "status.json");
ok = File.delete(folder + "arguments.txt");
ok = File.delete(folder);
lines = split(status, "\n");
failed = "";
spots = "0";
for (i = 0; i < lines.length; i++) {
	if (startsWith(lines[i], " \"error\": \"")) failed = substring(lines[i], 11, lastIndexOf(lines[i], "\""));
	if (startsWith(lines[i], " \"spots\": ")) spots = replace(substring(lines[i], 10), ",", "");
}
if (failed != "") exit("blinkcore: " + replace(failed, "\\\\\"", "\""));
print("blinkcore: " + spots + " new spots, written to " + output);
