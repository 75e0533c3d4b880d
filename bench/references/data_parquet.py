"""Parquet files as pyarrow writes them, one for each compression: a flat column and nested lists of messages."""
import base64
import io
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

row = {
    "prompt": "Say hi",
    "count": 3,
    "messages": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "hi 👋"}],
}
table = pa.Table.from_pylist([row, {**row, "prompt": None, "count": 2**40}])
files = {}
for codec in ["snappy", "gzip", "zstd"]:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=codec)
    files[codec] = base64.b64encode(buffer.getvalue()).decode()
golden = {
    "source": {"script": "bench/references/data_parquet.py", "versions": {"pyarrow": pa.__version__}, "seed": None},
    "files": files,
}
path = pathlib.Path(__file__).parents[2] / "packages/data/golden/parquet.json"
path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps(golden, indent=1) + "\n")
