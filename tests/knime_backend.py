"""The side of KNIME that is Java: files, views, ports and the callbacks of a node."""

import json
import threading


class File:
    """An Arrow file, for KNIME's sinks to write and its sources to read."""

    def __init__(self, path):
        self.path, self.size = str(path), None

    def getIdentifier(self):
        return "org.knime.python3.arrow"

    def isFooterWritten(self):
        return True

    def hasColumnNames(self):
        return False

    def getAbsolutePath(self):
        return self.path

    def setColumnarSchema(self, schema):
        pass

    def reportBatchWritten(self, offset):
        pass

    def setFinalSize(self, size):
        self.size = size


class View:
    def __init__(self, path):
        self.path = str(path)

    def getIdentifier(self):
        return "org.knime.python3.views"

    def getOutputFilePath(self):
        return self.path

    def setCanBeUsedInReport(self, can):
        pass


class TablePort:
    """A table at an input, with its spec."""

    def __init__(self, file):
        self.file = file

    def getJavaClassName(self):
        return "org.knime.core.node.BufferedDataTable"

    def getDataSource(self):
        return self.file


class TableSpec:
    def __init__(self, schema):
        content = schema.serialize()
        # Java adds to each column but the row keys how a dialog shows it.
        kind = {"preferred_value_type": "string", "displayed_column_type": "String"}
        content["columnMetaData"] = [None] + [kind for _ in schema]
        self.text = json.dumps(content)

    def getJavaClassName(self):
        return "org.knime.core.data.DataTableSpec"

    def toJsonString(self):
        return self.text


class Failed(Exception):
    """What KNIME would show on the node; `known` if it is a sentence without traceback."""

    def __init__(self, text, details, known):
        super().__init__(text)
        self.details, self.known = details, known


class Java:
    """The side of KNIME that a node calls: callback and context in one."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.warnings, self.shares, self.failure = [], [], None
        self.canceled = threading.Event()
        self.ports, self.specs = {}, []
        self.view = folder / "view.html"

    def new_file(self):
        self.count += 1
        return File(self.folder / f"{self.count}.arrow")

    create_sink = new_file

    def create_view_sink(self):
        return View(self.view)

    def set_failure(self, text, details, known):
        self.failure = Failed(text, details, known)

    def get_flow_variables(self):
        return {}

    def set_flow_variables(self, variables):
        pass

    def log(self, text, severity):
        pass

    def get_preferred_value_types_as_json(self, schema):
        return json.dumps([{} for _ in json.loads(schema)["columnNames"][1:]])

    def get_input_port_map(self):
        return self.ports

    def get_input_specs(self):
        return self.specs

    def get_node_id(self):
        return "0:1"

    def set_warning(self, text):
        self.warnings.append(text)

    def set_progress(self, share, text=""):
        self.shares.append(share)

    def is_canceled(self):
        return self.canceled.is_set()


class Node:
    """A node in a workflow."""

    def __init__(self, backend, node_id, ports, folder):
        self.java = Java(folder)
        self.ports = ports
        self.proxy = backend.createNodeFromExtension(node_id)
        self.proxy.initializeJavaCallback(self.java)

    def set(self, **values):
        """Close the dialog: names of groups and parameters joined by two underscores."""
        content = json.loads(self.proxy.getParameters())
        for name, value in values.items():
            *groups, last = name.split("__")
            place = content["model"]
            for group in groups:
                place = place[group]
            assert last in place
            place[last] = value
        text = json.dumps(content)
        wrong = self.proxy.validateParameters(text, "0.1.0")
        if wrong:
            raise Failed(wrong, "", known=True)
        self.proxy.setParameters(text, "0.1.0")
        return self

    def _connect(self, n):
        self.java.ports = {
            name: [i] for i, name in zip(range(n), self.ports, strict=False)
        }

    def configure(self, *tables):
        self._connect(len(tables))
        specs = [TableSpec(table_in(file).schema) for file in tables]
        return self._result(self.proxy.configure(specs, self.java))

    def execute(self, *tables):
        """Give the files of the outputs."""
        self._connect(len(tables))
        ports = [TablePort(file) for file in tables]
        made = self._result(self.proxy.execute(ports, self.java))
        return [port.getPythonArrowDataSink() for port in made]

    def dialog(self, *tables):
        self._connect(len(tables))
        self.java.specs = [TableSpec(table_in(file).schema) for file in tables]
        text = self.proxy.getDialogRepresentation(
            self.proxy.getParameters(), "0.1.0", self.java
        )
        return json.loads(self._result(text))

    def _result(self, result):
        if self.java.failure is not None:
            failure, self.java.failure = self.java.failure, None
            raise failure
        return result


def table_in(file):
    import knime._arrow._table as arrow
    import knime._backend._gateway as gateway

    return arrow.ArrowSourceTable(gateway.data_source_mapper(file))


def same_schema(file, spec):
    """Check names and types of a table against what configure promised, as KNIME does."""
    promised, made = json.loads(spec.toJsonString()), table_in(file).schema.serialize()
    for part in ("schema", "columnNames"):
        assert json.loads(json.dumps(made[part])) == promised[part]
