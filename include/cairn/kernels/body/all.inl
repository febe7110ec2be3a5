// The kernels themselves, written once over the virtual vector V of 16 floats. Included inside the
// namespace of each instruction set, between its target pragmas: no includes, no lambdas, no std::.
// Rule of this file and its siblings: a product that feeds an addition is an fma, written as one.

#include "cairn/kernels/body/common.inl"

#include "cairn/kernels/body/linear.inl"

#include "cairn/kernels/body/rounded.inl"

#include "cairn/kernels/body/tile_scores.inl"

#include "cairn/kernels/body/attention.inl"

#include "cairn/kernels/body/rounded_attention.inl"

#include "cairn/kernels/body/rows.inl"
