/* Two models in one program: each runs on two threads at once, every thread with an arena of its own. Prints the first difference. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gnn.h"

#define RUNS 200
#define MAX_FLOATS 4096

typedef struct job {
    const gnn_model *model;
    const gnn_graph *graph;
    const gnn_features *features;
    const float *expected; /* of the first output */
    size_t floats;
    int result;
} job;

#include "jobs.h" /* FIRST and SECOND: the recorded runs */

static void *work(void *argument)
{
    job *j = argument;
    const size_t bytes = j->model->required_bytes();
    void *arena = malloc(bytes);
    float values[MAX_FLOATS];
    float *pointers[1];
    gnn_outputs outputs = {NULL, NULL, NULL};
    int i;
    pointers[0] = values;
    outputs.values = pointers;
    for (i = 0; i < RUNS && j->result == 0; i++) {
        gnn_status status = j->model->prepare(j->graph, arena, bytes);
        memset(values, 0, sizeof values);
        if (status == GNN_OK) {
            status = j->model->run(j->features, arena, bytes, &outputs);
        }
        if (status != GNN_OK) {
            j->result = (int)status;
        } else if (memcmp(values, j->expected, j->floats * sizeof(float)) != 0) {
            j->result = 100;
        }
    }
    free(arena);
    return NULL;
}

int main(void)
{
    job jobs[4] = {FIRST, SECOND, FIRST, SECOND};
    pthread_t threads[4];
    int i, worst = 0;
    for (i = 0; i < 4; i++) {
        if (pthread_create(&threads[i], NULL, work, &jobs[i]) != 0) {
            return 2;
        }
    }
    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        if (jobs[i].result != 0) {
            printf("%s: %d\n", jobs[i].model->name, jobs[i].result);
            worst = 1;
        }
    }
    return worst;
}
