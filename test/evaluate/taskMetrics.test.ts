import assert from 'node:assert/strict'
import { it } from 'node:test'
import { checkMetrics, metricsOf, taskOutputs } from '../../src/evaluate/taskMetrics.ts'
import { type MetricName, metrics } from '../../src/metrics/metrics.ts'
import type { Task } from '../../src/models/model.ts'

it('each metric is one of exactly one task, and refused for all others with those that they can have', () => {
  const tasks = Object.keys(taskOutputs) as Task[]
  for (const name of Object.keys(metrics) as MetricName[]) {
    assert.equal(tasks.filter((task) => metricsOf(task).includes(name)).length, 1)
    for (const task of tasks) {
      if (metricsOf(task).includes(name)) checkMetrics([name], task)
      else {
        const want = metricsOf(task).join(', ')
        assert.throws(() => checkMetrics([...metricsOf(task), name], task, 'here'), {
          name: 'RangeError',
          message: `here: got ${name}, which needs ${metrics[name].needs}, for a model of ${task}; ${want ? `want one of ${want}` : 'and there is none for such models'}`,
        })
      }
    }
  }
})
