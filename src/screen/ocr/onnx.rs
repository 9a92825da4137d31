//! Partial ONNX parser that splits the recogniser: its last matrix has a column
//! for each of 6,906 classes, and most steps of a line need few of them.
//!
//! Fields are copied verbatim; only their nesting is parsed (protocol buffers,
//! field numbers of onnx.proto3).

/// Field numbers of onnx.proto3 that are parsed.
mod field {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const GRAPH_NAME: u64 = 2;
    pub(super) const GRAPH_INITIALIZER: u64 = 5;
    pub(super) const GRAPH_INPUT: u64 = 11;
    pub(super) const GRAPH_OUTPUT: u64 = 12;
    pub(super) const GRAPH_VALUE_INFO: u64 = 13;
    pub(super) const NODE_INPUT: u64 = 1;
    pub(super) const NODE_OUTPUT: u64 = 2;
    pub(super) const NODE_OPERATOR: u64 = 4;
    pub(super) const TENSOR_DIMS: u64 = 1;
    pub(super) const TENSOR_DATA_TYPE: u64 = 2;
    pub(super) const TENSOR_NAME: u64 = 8;
    pub(super) const TENSOR_RAW_DATA: u64 = 9;
    pub(super) const VALUE_NAME: u64 = 1;
    pub(super) const VALUE_TYPE: u64 = 2;
    pub(super) const TYPE_TENSOR: u64 = 1;
    pub(super) const TYPE_ELEMENT: u64 = 1;
    pub(super) const TYPE_SHAPE: u64 = 2;
    pub(super) const SHAPE_DIM: u64 = 1;
    pub(super) const DIM_VALUE: u64 = 1;
}

/// TensorProto.DataType.FLOAT.
const FLOAT: u64 = 1;

/// Reason why a file is not the expected model.
pub(super) type Reason = String;

/// Recogniser in two parts: one that runs on every step of a line, and one that
/// computes the probability of a character among all classes.
#[derive(Debug)]
pub(super) struct SplitRecogniser {
    /// Model from a picture to two outputs: features
    /// `[lines, steps, features]`, and scores (logits) `[lines, steps, wanted]`
    /// of the wanted classes.
    pub(super) body: Vec<u8>,
    /// Model from features `[1, steps, features]` to the probability of every
    /// class.
    pub(super) head: Vec<u8>,
    pub(super) classes: usize,
}

/// Fails unless the file is one complete message with a graph.
pub(super) fn check(model: &[u8]) -> Result<(), Reason> {
    let graph = only(model, field::MODEL_GRAPH)?;
    fields(graph).map(|_| ())
}

/// Size of the output's last dimension, the number of classes; `None` if the
/// file leaves it open.
pub(super) fn classes(model: &[u8]) -> Result<Option<usize>, Reason> {
    let mut inner = only(model, field::MODEL_GRAPH)?;
    let shape = [field::GRAPH_OUTPUT, field::VALUE_TYPE, field::TYPE_TENSOR];
    for number in shape.into_iter().chain([field::TYPE_SHAPE]) {
        inner = only(inner, number)?;
    }
    let dims = bodies(inner, field::SHAPE_DIM)?;
    let fields = fields(dims.last().copied().unwrap_or_default())?;
    let value = fields
        .into_iter()
        .find(|part| part.number == field::DIM_VALUE);
    value.and_then(|part| part.value).map(length).transpose()
}

/// Splits a recogniser before its last layer; `wanted(classes)` returns the
/// classes to score at every step.
pub(super) fn split(
    model: &[u8],
    wanted: impl FnOnce(usize) -> Vec<usize>,
) -> Result<SplitRecogniser, Reason> {
    let graph = only(model, field::MODEL_GRAPH)?;
    let layer = LastLayer::find(graph)?;
    let wanted = wanted(layer.classes);
    if wanted.iter().any(|class| *class >= layer.classes) {
        return Err(format!(
            "it knows {} classes, too few for the dictionary",
            layer.classes
        ));
    }
    Ok(SplitRecogniser {
        body: with_graph(model, &layer.body(graph, &wanted)?)?,
        head: with_graph(model, &layer.head(graph)?)?,
        classes: layer.classes,
    })
}

/// Last nodes of the graph: MatMul, Add, Softmax.
struct LastLayer<'a> {
    softmax: Node<'a>,
    sum: Node<'a>,
    product: Node<'a>,
    /// Identity nodes between those three and their constants.
    copies: Vec<&'a [u8]>,
    /// Name of the MatMul's input.
    features: &'a [u8],
    weights: Tensor<'a>,
    biases: Tensor<'a>,
    classes: usize,
}

impl<'a> LastLayer<'a> {
    fn find(graph: &'a [u8]) -> Result<Self, Reason> {
        let output = only(only(graph, field::GRAPH_OUTPUT)?, field::VALUE_NAME)?;
        let nodes = bodies(graph, field::GRAPH_NODE)?;
        let nodes: Vec<_> = nodes
            .into_iter()
            .map(Node::parse)
            .collect::<Result<_, _>>()?;
        let mut copies = Vec::new();
        let mut maker = |of: Option<&&'a [u8]>, operator: &str| {
            let name = of.map(|name| origin(name, &nodes, &mut copies));
            let node = nodes.iter().find(|node| Some(node.output) == name);
            node.filter(|node| node.operator == operator.as_bytes())
                .cloned()
                .ok_or_else(|| format!("it does not end in a {operator}"))
        };
        let softmax = maker(Some(&output), "Softmax")?;
        let sum = maker(softmax.inputs.first(), "Add")?;
        let product = maker(sum.inputs.first(), "MatMul")?;
        let tensors = bodies(graph, field::GRAPH_INITIALIZER)?;
        let tensors: Vec<_> = (tensors.into_iter())
            .map(Tensor::parse)
            .collect::<Result<_, _>>()?;
        let mut constant = |of: Option<&&'a [u8]>| {
            let name = of.map(|name| origin(name, &nodes, &mut copies));
            let tensor = tensors.iter().find(|tensor| Some(tensor.name) == name);
            tensor
                .cloned()
                .ok_or_else(|| "its last layer has no weights".to_owned())
        };
        let weights = constant(product.inputs.get(1))?;
        let biases = constant(sum.inputs.get(1))?;
        let (&[_, classes], &[biased]) = (&weights.dims[..], &biases.dims[..]) else {
            return Err("its last layer is no matrix".to_owned());
        };
        if classes != biased || classes == 0 || !weights.is_whole() || !biases.is_whole() {
            return Err("its last layer's weights are not whole".to_owned());
        }
        let features = product.inputs.first().copied().unwrap_or_default();
        Ok(Self {
            softmax,
            sum,
            product,
            copies,
            features,
            weights,
            biases,
            classes,
        })
    }

    /// Graph without the softmax, with only the wanted columns.
    fn body(&self, graph: &[u8], wanted: &[usize]) -> Result<Vec<u8>, Reason> {
        let mut body = Vec::with_capacity(graph.len());
        for part in fields(graph)? {
            match part.number {
                field::GRAPH_NODE if part.body == self.softmax.bytes => {}
                // Names and shapes of removed values.
                field::GRAPH_OUTPUT | field::GRAPH_VALUE_INFO => {}
                field::GRAPH_INITIALIZER if part.body == self.weights.bytes => {
                    put(&mut body, part.number, &self.weights.columns(wanted));
                }
                field::GRAPH_INITIALIZER if part.body == self.biases.bytes => {
                    put(&mut body, part.number, &self.biases.columns(wanted));
                }
                _ => body.extend_from_slice(part.whole),
            }
        }
        put(&mut body, field::GRAPH_OUTPUT, &value(self.features));
        put(&mut body, field::GRAPH_OUTPUT, &value(self.sum.output));
        Ok(body)
    }

    /// Graph of the last layer alone.
    fn head(&self, graph: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut head =
            Vec::with_capacity(self.weights.bytes.len() + self.biases.bytes.len() + 4096);
        let layer = [&self.product, &self.sum, &self.softmax];
        for node in bodies(graph, field::GRAPH_NODE)? {
            if self.copies.contains(&node) || layer.iter().any(|layer| layer.bytes == node) {
                put(&mut head, field::GRAPH_NODE, node);
            }
        }
        for tensor in [&self.weights, &self.biases] {
            put(&mut head, field::GRAPH_INITIALIZER, tensor.bytes);
        }
        put(
            &mut head,
            field::GRAPH_NAME,
            only(graph, field::GRAPH_NAME)?,
        );
        put(&mut head, field::GRAPH_INPUT, &value(self.features));
        put(&mut head, field::GRAPH_OUTPUT, &value(self.softmax.output));
        Ok(head)
    }
}

/// Original name of a value behind Identity nodes, which are added to `copies`.
fn origin<'a>(name: &&'a [u8], nodes: &[Node<'a>], copies: &mut Vec<&'a [u8]>) -> &'a [u8] {
    let mut name = *name;
    // Bounded by the number of nodes: a malformed file may be cyclic.
    for _ in nodes {
        let copy = nodes
            .iter()
            .find(|node| node.output == name && node.operator == b"Identity");
        let Some((copy, from)) = copy.and_then(|copy| Some((copy, copy.inputs.first()?))) else {
            break;
        };
        copies.push(copy.bytes);
        name = from;
    }
    name
}

#[derive(Clone)]
struct Node<'a> {
    bytes: &'a [u8],
    inputs: Vec<&'a [u8]>,
    /// First output, if there are several.
    output: &'a [u8],
    operator: &'a [u8],
}

impl<'a> Node<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let first = |number| -> Result<&'a [u8], Reason> {
            let all = bodies(bytes, number)?;
            Ok(all.first().copied().unwrap_or_default())
        };
        Ok(Self {
            bytes,
            inputs: bodies(bytes, field::NODE_INPUT)?,
            output: first(field::NODE_OUTPUT)?,
            operator: first(field::NODE_OPERATOR)?,
        })
    }
}

/// Constant of the graph: 32-bit floats in `raw_data`.
#[derive(Clone)]
struct Tensor<'a> {
    bytes: &'a [u8],
    name: &'a [u8],
    dims: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Tensor<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let mut tensor = Self {
            bytes,
            name: &[],
            dims: Vec::new(),
            data: &[],
        };
        let mut is_float = false;
        for part in fields(bytes)? {
            match (part.number, part.value) {
                (field::TENSOR_DIMS, Some(side)) => tensor.dims.push(length(side)?),
                (field::TENSOR_DIMS, None) => {
                    let mut packed = part.body;
                    while !packed.is_empty() {
                        tensor.dims.push(length(number(&mut packed)?)?);
                    }
                }
                (field::TENSOR_DATA_TYPE, Some(kind)) => is_float = kind == FLOAT,
                (field::TENSOR_NAME, _) => tensor.name = part.body,
                (field::TENSOR_RAW_DATA, _) => tensor.data = part.body,
                _ => {}
            }
        }
        if !is_float {
            tensor.data = &[];
        }
        Ok(tensor)
    }

    /// True if the data has a float for each element of the shape.
    fn is_whole(&self) -> bool {
        let places = (self.dims.iter()).try_fold(4_usize, |all, side| all.checked_mul(*side));
        places == Some(self.data.len())
    }

    /// Message of a tensor with only some columns of its last dimension, in the
    /// given order. The tensor must be complete and have each of those columns.
    fn columns(&self, wanted: &[usize]) -> Vec<u8> {
        let (width, above) = match self.dims.split_last() {
            Some((width, above)) => (*width, above),
            None => (1, &[][..]),
        };
        let mut data = Vec::with_capacity(self.data.len() / width.max(1) * wanted.len());
        for row in self.data.chunks_exact(4 * width.max(1)) {
            for column in wanted {
                data.extend_from_slice(&row[4 * column..][..4]);
            }
        }
        let mut tensor = Vec::with_capacity(data.len() + 64);
        for side in above.iter().chain([&wanted.len()]) {
            put_number(&mut tensor, field::TENSOR_DIMS, *side as u64);
        }
        put_number(&mut tensor, field::TENSOR_DATA_TYPE, FLOAT);
        put(&mut tensor, field::TENSOR_NAME, self.name);
        put(&mut tensor, field::TENSOR_RAW_DATA, &data);
        tensor
    }
}

/// Field of a message.
struct Field<'a> {
    number: u64,
    /// Bytes including key and length.
    whole: &'a [u8],
    /// Payload; empty for a field without a length.
    body: &'a [u8],
    /// Value of a varint field.
    value: Option<u64>,
}

/// Fields of a message, in order.
fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, Reason> {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let key = number(&mut rest)?;
        let (mut body, mut value) = (&[][..], None);
        match key & 7 {
            0 => value = Some(number(&mut rest)?),
            1 => drop(take(&mut rest, 8)?),
            2 => {
                let size = number(&mut rest)?;
                body = take(&mut rest, size)?;
            }
            5 => drop(take(&mut rest, 4)?),
            _ => return Err("it is no ONNX file".to_owned()),
        }
        fields.push(Field {
            number: key >> 3,
            whole: &start[..start.len() - rest.len()],
            body,
            value,
        });
    }
    Ok(fields)
}

/// Payloads of all fields with that number.
fn bodies(message: &[u8], number: u64) -> Result<Vec<&[u8]>, Reason> {
    let fields = fields(message)?.into_iter();
    Ok(fields
        .filter(|field| field.number == number && field.value.is_none())
        .map(|field| field.body)
        .collect())
}

fn only(message: &[u8], number: u64) -> Result<&[u8], Reason> {
    match bodies(message, number)?[..] {
        [body] => Ok(body),
        _ => Err("it is no ONNX file with one graph and one output".to_owned()),
    }
}

/// Varint: seven bits per byte, the lowest first.
fn number(rest: &mut &[u8]) -> Result<u64, Reason> {
    let mut value = 0;
    for at in 0..10 {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("it is no ONNX file".to_owned())
}

fn take<'a>(rest: &mut &'a [u8], size: u64) -> Result<&'a [u8], Reason> {
    let size_there = usize::try_from(size)
        .ok()
        .filter(|size| *size <= rest.len());
    let Some(size) = size_there else {
        let there = rest.len();
        return Err(format!(
            "it is cut short: {size} bytes expected where {there} are left"
        ));
    };
    let (taken, after) = rest.split_at(size);
    *rest = after;
    Ok(taken)
}

fn length(side: u64) -> Result<usize, Reason> {
    usize::try_from(side).map_err(|_| "it is no ONNX file".to_owned())
}

/// Model with its graph replaced.
fn with_graph(model: &[u8], graph: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut whole = Vec::with_capacity(graph.len() + 256);
    for part in fields(model)? {
        if part.number == field::MODEL_GRAPH {
            put(&mut whole, field::MODEL_GRAPH, graph);
        } else {
            whole.extend_from_slice(part.whole);
        }
    }
    Ok(whole)
}

/// ValueInfoProto of a float tensor of any shape.
fn value(name: &[u8]) -> Vec<u8> {
    let (mut tensor, mut kind, mut value) = (Vec::new(), Vec::new(), Vec::new());
    put_number(&mut tensor, field::TYPE_ELEMENT, FLOAT);
    put(&mut kind, field::TYPE_TENSOR, &tensor);
    put(&mut value, field::VALUE_NAME, name);
    put(&mut value, field::VALUE_TYPE, &kind);
    value
}

fn put(into: &mut Vec<u8>, field: u64, body: &[u8]) {
    put_varint(into, field << 3 | 2);
    put_varint(into, body.len() as u64);
    into.extend_from_slice(body);
}

fn put_number(into: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(into, field << 3);
    put_varint(into, value);
}

fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
        let mut node = Vec::new();
        for input in inputs {
            put(&mut node, field::NODE_INPUT, input.as_bytes());
        }
        put(&mut node, field::NODE_OUTPUT, output.as_bytes());
        put(&mut node, field::NODE_OPERATOR, operator.as_bytes());
        node
    }

    fn tensor(name: &str, dims: &[usize], values: &[f32]) -> Vec<u8> {
        let data: Vec<_> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let mut tensor = Vec::new();
        // Packed encoding, as some writers use.
        let mut sides = Vec::new();
        for side in dims {
            put_varint(&mut sides, *side as u64);
        }
        put(&mut tensor, field::TENSOR_DIMS, &sides);
        put_number(&mut tensor, field::TENSOR_DATA_TYPE, FLOAT);
        put(&mut tensor, field::TENSOR_NAME, name.as_bytes());
        put(&mut tensor, field::TENSOR_RAW_DATA, &data);
        tensor
    }

    /// Recogniser with two features and three classes.
    fn recogniser(end: &str) -> Vec<u8> {
        let mut graph = Vec::new();
        for node in [
            node("Relu", &["picture"], "features"),
            node("Identity", &["w"], "copy of w"),
            node("MatMul", &["features", "copy of w"], "product"),
            node("Identity", &["product"], "copy of product"),
            node("Add", &["copy of product", "b"], "scores"),
            node(end, &["scores"], "probabilities"),
        ] {
            put(&mut graph, field::GRAPH_NODE, &node);
        }
        put(&mut graph, field::GRAPH_NAME, b"made");
        let weights = tensor("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        put(&mut graph, field::GRAPH_INITIALIZER, &weights);
        let biases = tensor("b", &[3], &[0.1, 0.2, 0.3]);
        put(&mut graph, field::GRAPH_INITIALIZER, &biases);
        put(&mut graph, field::GRAPH_INPUT, &value(b"picture"));
        put(&mut graph, field::GRAPH_OUTPUT, &value(b"probabilities"));
        let mut model = Vec::new();
        put_number(&mut model, 1, 7);
        put(&mut model, field::MODEL_GRAPH, &graph);
        model
    }

    fn operators(model: &[u8]) -> Vec<String> {
        let nodes = bodies(only(model, field::MODEL_GRAPH).unwrap(), field::GRAPH_NODE);
        let operator = |node| String::from_utf8(Node::parse(node).unwrap().operator.to_vec());
        nodes
            .unwrap()
            .into_iter()
            .map(|node| operator(node).unwrap())
            .collect()
    }

    /// Dimensions and values of a constant.
    fn constant(model: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
        let graph = only(model, field::MODEL_GRAPH).unwrap();
        let tensors = bodies(graph, field::GRAPH_INITIALIZER).unwrap();
        let tensors = tensors
            .into_iter()
            .map(|tensor| Tensor::parse(tensor).unwrap());
        let tensor = tensors
            .into_iter()
            .find(|tensor| tensor.name == name.as_bytes())
            .unwrap();
        let values = tensor
            .data
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes));
        (tensor.dims, values.collect())
    }

    #[test]
    fn a_recogniser_is_split_before_its_last_layer() {
        let split = split(&recogniser("Softmax"), |classes| vec![0, classes - 1]).unwrap();
        assert_eq!(split.classes, 3);
        assert_eq!(
            operators(&split.body),
            ["Relu", "Identity", "MatMul", "Identity", "Add"]
        );
        assert_eq!(
            constant(&split.body, "w"),
            (vec![2, 2], vec![1.0, 3.0, 4.0, 6.0])
        );
        assert_eq!(constant(&split.body, "b"), (vec![2], vec![0.1, 0.3]));
        assert_eq!(
            operators(&split.head),
            ["Identity", "MatMul", "Identity", "Add", "Softmax"]
        );
        assert_eq!(constant(&split.head, "w").0, [2, 3]);
        for (model, outputs) in [(&split.body, 2), (&split.head, 1)] {
            let graph = only(model, field::MODEL_GRAPH).unwrap();
            assert_eq!(bodies(graph, field::GRAPH_INPUT).unwrap().len(), 1);
            assert_eq!(bodies(graph, field::GRAPH_OUTPUT).unwrap().len(), outputs);
        }
    }

    #[test]
    fn another_network_is_refused_with_the_reason() {
        let reason = |model: &[u8], class| split(model, |_| vec![class]).unwrap_err();
        let other = reason(&recogniser("Sigmoid"), 0);
        assert!(other.contains("Softmax"), "{other}");
        let few = reason(&recogniser("Softmax"), 3);
        assert!(few.contains("3 classes"), "{few}");
        let page = reason(b"<html>not found</html>", 0);
        assert!(page.contains("ONNX"), "{page}");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let model = recogniser("Softmax");
        check(&model).unwrap();
        for end in 0..model.len() {
            assert!(check(&model[..end]).is_err(), "{end} of {}", model.len());
            assert!(split(&model[..end], |_| vec![0]).is_err(), "{end}");
        }
        let told = check(&model[..model.len() - 1]).unwrap_err();
        assert!(told.contains("cut short"), "{told}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..300) {
            let _ = check(&bytes);
            let mut model = recogniser("Softmax");
            let at = at.min(model.len() - bytes.len().min(model.len()));
            for (byte, other) in model[at..].iter_mut().zip(&bytes) {
                *byte = *other;
            }
            let _ = split(&model, |classes| (0..classes.min(9)).collect());
        }
    }
}
