_run(const gnn_features *features, void *arena, size_t arena_bytes, const gnn_outputs *outputs)
{
    unsigned char *const memory = (unsigned char *)arena;
    const gnn_state *const state = (const gnn_state *)arena;
    gnn_status status = gnn_run_start(&gnn_gcn_graph_int8_model, MODEL_ID, features, arena, arena_bytes, outputs);
    if (status != GNN_OK) {
        return status;
    }
    const uint32_t num_nodes = state->num_nodes;
    const uint32_t num_graphs = state->num_graphs;
    const uint32_t *const graph_pointer = (const uint32_t *)(void *)(memory + 16u);
    const gnn_topology topology_0 = topology_at_0(memory);
    status = gnn_check_finite_f32(features->x, (size_t)num_nodes * 7u);
    if (status != GNN_OK) {
        return status;
    }
    { /* stage 0: nodes */
        int16_t *const value_4 = (int16_t *)(void *)(memory + 1576u);
        float *const value_2 = (float *)(void *)(memory + 2472u);
        int16_t *const value_3 = (int16_t *)(void *)(memory + 2584u);
        for (uint32_t first = 0; first < num_nodes; first += GNN_ROWS) {
            const uint32_t rows = num_nodes - first < GNN_ROWS ? num_nodes - first : GNN_ROWS;
            gnn_binary_f32(GNN_MUL, features->x + first * 7u, 7u, 7u, b_2, 7u, 0u, rows, 7u, 0u, value_2);
            gnn_quantize_s16(&quantize_3, value_2, rows, value_3, 7u);
            gnn_requantize(&requantize_4, value_3, 7u, rows, topology_0.row_factor + first, value_4 + first * 7u, 7u);
        }
    }
    { /* stage 1: nodes */
        const int16_t *const value_4 = (const int16_t *)(void *)(memory + 1576u);
        int8_t *const value_8 = (int8_t *)(void *)(memory + 2472u);
        int16_t *const value_5 = (int16_t *)(void *)(memory + 2984u);
        int32_t *const sums_5 = (int32_t *)(void *)(memory + 3048u);
        for (uint32_t first = 0; first < num_nodes; first += GNN_ROWS) {
            const uint32_t rows = num_nodes - first < GNN_ROWS ? num_nodes - first : GNN_ROWS;
            /* convs.0 */
            gnn_propagate_s16_s16(&propagate_5, &topology_0, value_4, first, rows, value_5, 8u, sums_5);
            /* convs.0.lin */
            gnn_linear_s8(&linear_8, value_5, rows, topology_0.row_factor + first, value_8 + first * 8u, NULL);
        }
    }
    { /* stage 2: nodes */
        int8_t *const value_12 = (int8_t *)(void *)(memory + 1576u);
        int16_t *const value_9 = (int16_t *)(void *)(memory + 2088u);
        int32_t *const sums_9 = (int32_t *)(void *)(memory + 2152u);
        const int8_t *const value_8 = (const int8_t *)(void *)(memory + 2472u);
        for (uint32_t first = 0; first < num_nodes; first += GNN_ROWS) {
            const uint32_t rows = num_nodes - first < GNN_ROWS ? num_nodes - first : GNN_ROWS;
            /* convs.1 */
            gnn_propagate_s8_s16(&propagate_9, &topology_0, value_8, first, rows, value_9, 8u, sums_9);
            /* convs.1.lin */
            gnn_linear_s8(&linear_12, value_9, rows, topology_0.row_factor + first, value_12 + first * 8u, NULL);
        }
    }
    { /* stage 3: nodes */
        const int8_t *const value_12 = (const int8_t *)(void *)(memory + 1576u);
        int32_t *const pool_sums_17 = (int32_t *)(void *)(memory + 2088u);
        int16_t *const value_13 = (int16_t *)(void *)(memory + 2216u);
        int32_t *const sums_13 = (int32_t *)(void *)(memory + 2280u);
        int8_t *const value_16 = (int8_t *)(void *)(memory + 2280u);
        gnn_pool_start(&pool_17, num_graphs, pool_sums_17);
        for (uint32_t first = 0; first < num_nodes; first += GNN_ROWS) {
            const uint32_t rows = num_nodes - first < GNN_ROWS ? num_nodes - first : GNN_ROWS;
            /* convs.2 */
            gnn_propagate_s8_s16(&propagate_13, &topology_0, value_12, first, rows, value_13, 8u, sums_13);
            /* convs.2.lin */
            gnn_linear_s8(&linear_16, value_13, rows, NULL, value_16, NULL);
            gnn_pool_s8(&pool_17, value_16, 8u, graph_pointer, num_graphs, first, rows, pool_sums_17);
        }
    }
    { /* stage 4: graphs */
        int16_t *const value_17 = (int16_t *)(void *)(memory + 1576u);
        float *const value_21 = (float *)(void *)(memory + 1576u);
        int32_t *const value_20 = (int32_t *)(void *)(memory + 1640u);
        int32_t *const pool_sums_17 = (int32_t *)(void *)(memory + 2088u);
        for (uint32_t first = 0; first < num_graphs; first += GNN_ROWS) {
            const uint32_t rows = num_graphs - first < GNN_ROWS ? num_graphs - first : GNN_ROWS;
            gnn_pool_finish(&pool_17, pool_sums_17, graph_pointer, first, rows, GNN_S16, value_17, 8u);
            /* lin */
            gnn_linear_s32(&linear_20, value_17, rows, value_20, NULL);
            gnn_dequantize(GNN_S32, value_20, 4u, scale_21, 0, 0, rows, 4u, value_21);
            gnn_output(outputs, 0u, first, rows, 4u, value_21);
        }
    }
    return GNN_OK;
}

