// Plugins > Blinkcore > Export Labels: the point selections of all open images, as .roi files
// beside a copy of each image. "blinkcore dataset create FOLDER FOLDER -o data.npz" reads them.
// As a macro: run("Export Labels", "folder=/data/labelled");

requires("1.53t");
if (nImages == 0) exit("blinkcore: open labelled images first.");
Dialog.create("Export Labels (blinkcore)");
Dialog.addDirectory("Folder", getDirectory("home"));
Dialog.show();
folder = Dialog.getString();
File.makeDirectory(folder);
if (!File.isDirectory(folder)) exit("blinkcore: " + folder + " is not a folder and cannot be made.");
if (!endsWith(folder, File.separator)) folder += File.separator;
active = getImageID();
ids = newArray(nImages);
for (i = 0; i < ids.length; i++) {
	selectImage(i + 1);
	ids[i] = getImageID();
}
// Everything is looked at before anything is written.
suffixes = newArray(".roi", ".tif");
names = newArray(ids.length);
for (i = 0; i < ids.length; i++) {
	selectImage(ids[i]);
	names[i] = "";
	if (selectionType() != 10) continue;
	names[i] = replace(File.getNameWithoutExtension(replace(getTitle(), "/", "_")), "\\\\", "_");
	for (k = 0; k < i; k++) {
		if (names[k] == names[i]) exit("blinkcore: two images are called " + names[i] + "; rename one.");
	}
	for (k = 0; k < 2; k++) {
		path = folder + names[i] + suffixes[k];
		if (File.exists(path)) exit("blinkcore: " + path + " is there already; choose another folder.");
	}
}
wasBatch = is("Batch Mode");
if (!wasBatch) setBatchMode(true);
written = 0;
for (i = 0; i < ids.length; i++) {
	selectImage(ids[i]);
	if (selectionType() != 10) {
		print("blinkcore: " + getTitle() + " has no point selection and is left out");
		continue;
	}
	name = names[i];
	saveAs("Selection", folder + name + ".roi");
	// A copy: the image itself keeps its file and its unsaved changes.
	run("Select None");
	run("Duplicate...", "title=copy duplicate");
	save(folder + name + ".tif");
	close();
	selectImage(ids[i]);
	run("Restore Selection");
	written++;
}
selectImage(active);
if (!wasBatch) setBatchMode(false);
print("blinkcore: labels of " + written + " images in " + folder);
