/** Preloaded into a child process: the last line on stderr is the most memory it had, in bytes. */

process.on('exit', () => process.stderr.write(`\n${process.resourceUsage().maxRSS * 1024}`))
