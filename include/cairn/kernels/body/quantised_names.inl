// Names of kernels::quantised inside the namespace of an instruction set.
using cairn::quantised::BlockLayout;
using cairn::quantised::GroupScales;
using kernels::quantised::BlockKernels;
using kernels::quantised::BlockProduct;
using kernels::quantised::code_bytes;
using kernels::quantised::group_bytes;
using kernels::quantised::panel_bytes;
using kernels::quantised::Quantise;
using kernels::quantised::scale_bytes;
