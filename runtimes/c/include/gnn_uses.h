/* What a model uses of its kernels: everything, unless the model is compiled as one file and says that it does not. */
#ifndef GNN_USES_H
#define GNN_USES_H

/* Topologies of one relation, for which edges are chosen by their edge_type. */
#if !defined(GNN_USES_RELATIONS)
#define GNN_USES_RELATIONS 1
#endif

/* Integer Linear. */
#if !defined(GNN_USES_WEIGHTS_OF_8_BITS)
#define GNN_USES_WEIGHTS_OF_8_BITS 1
#endif
#if !defined(GNN_USES_WEIGHTS_OF_4_BITS)
#define GNN_USES_WEIGHTS_OF_4_BITS 1
#endif
#if !defined(GNN_USES_WEIGHTS_OF_2_BITS)
#define GNN_USES_WEIGHTS_OF_2_BITS 1
#endif
#if !defined(GNN_USES_ONE_MULTIPLIER) /* for all output channels of a Linear */
#define GNN_USES_ONE_MULTIPLIER 1
#endif
#if !defined(GNN_USES_LEFT_SHIFT) /* of the accumulators of a Linear */
#define GNN_USES_LEFT_SHIFT 1
#endif
#if !defined(GNN_USES_TERMS) /* bias and shift of a Linear in one number, with weights of 4 bits */
#define GNN_USES_TERMS 1
#endif
#if !defined(GNN_USES_NO_TERMS) /* bias and shift of their own, with weights of 4 bits */
#define GNN_USES_NO_TERMS 1
#endif
#if !defined(GNN_USES_ROW_FACTOR)
#define GNN_USES_ROW_FACTOR 1
#endif
#if !defined(GNN_USES_LONG_ROWS) /* of a Linear: more than 64 inputs */
#define GNN_USES_LONG_ROWS 1
#endif

/* Integer Propagate and Pool. */
#if !defined(GNN_USES_EXTREMES) /* maximum or minimum */
#define GNN_USES_EXTREMES 1
#endif
#if !defined(GNN_USES_MEAN_ROWS) /* a Propagate divides by the number of in-edges */
#define GNN_USES_MEAN_ROWS 1
#endif
#if !defined(GNN_USES_SELF)
#define GNN_USES_SELF 1
#endif

#if !defined(GNN_USES_WIDE_SUMS) /* accumulators that are dequantized and may have more than 24 bits */
#define GNN_USES_WIDE_SUMS 1
#endif

/* Requantizations by less than 33 bits. */
#if !defined(GNN_USES_SMALL_SHIFTS)
#define GNN_USES_SMALL_SHIFTS 1
#endif

/* What the loops with the Arm DSP extension leave to C: requantizations far from usual, few channels, more than 255 in-edges. */
#if !defined(GNN_USES_RARE)
#define GNN_USES_RARE 1
#endif

#endif
