"""Reads a JSON array of OCSF events; says what the published schema has
against each of them."""

import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
schema = schemas.get_class_schema(class_name=schemas.lookup_class_name_from_uid(2004), profiles=[])
validator = Draft202012Validator(schema)
print(json.dumps([[f"{e.json_path}: {e.message}"[:300] for e in validator.iter_errors(event)]
                  for event in json.load(sys.stdin)]))
