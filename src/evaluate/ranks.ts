/** Rank statistics, which live among the metrics. */

export { pearson, ranks, spearman } from '../metrics/ranks.ts'
