/** Names of models on the Hugging Face Hub. */

/** A model of the Hub: `owner/name`, a branch, tag or commit of it, and one of its GGUF files where it has several. */
export interface HubId {
  readonly repo: string
  readonly revision: string
  readonly file?: string
}

/** The id in `hub:owner/name`, `owner/name@revision` or `owner/name/file.gguf`; undefined for other text. */
export function parseHubId(text: string): HubId | undefined {
  const pattern =
    /^(?:hub:)?(?<repo>[\w-][\w.-]*\/[\w-][\w.-]*)(?:@(?<revision>[\w.-]+))?(?:\/(?<file>[\w./-]+\.gguf))?$/
  const { repo, revision = 'main', file } = pattern.exec(text)?.groups ?? {}
  if (!repo || file?.includes('..')) return undefined
  return { repo, revision, ...(file !== undefined && { file }) }
}
