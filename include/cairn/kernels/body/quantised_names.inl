// Names of kernels::quantised inside the namespace of an instruction set.
using kernels::quantised::Activations;
using kernels::quantised::code_bytes;
using kernels::quantised::group_bytes;
using kernels::quantised::GroupScales;
using kernels::quantised::Layout;
using kernels::quantised::Linear;
using kernels::quantised::panel_bytes;
using kernels::quantised::Quantise;
using kernels::quantised::scale_bytes;
using kernels::quantised::Table;
