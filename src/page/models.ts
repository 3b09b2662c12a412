/** Which models and texts jobs work on, as plain data that can be sent to a worker. */

/** A model: one that comes with the page, one that was dropped on it, or one that was converted here. */
export type ModelRef =
  /** `converted` puts the maps on that were distilled for it, the last of the folder `models/tiny-maps`. */
  | { readonly kind: 'site'; readonly folder: string; readonly converted?: boolean }
  | { readonly kind: 'files'; readonly name: string; readonly files: Readonly<Record<string, Blob>> }
  | { readonly kind: 'zip'; readonly name: string; readonly file: Blob }
  | { readonly kind: 'stored'; readonly name: string }

/** The folder of the browser's storage with converted models, each in a folder of its name. */
export const conversionsFolder = 'conversions'

/** The model that comes with the page. */
export const bundledModel: ModelRef = { kind: 'site', folder: 'models/tiny' }

/** It, with maps that were distilled for it. */
export const bundledConverted: ModelRef = { kind: 'site', folder: 'models/tiny', converted: true }

/** A model's name for people. */
export function modelName(ref: ModelRef): string {
  if (ref.kind !== 'site') return ref.name
  return ref.converted ? 'tiny, converted' : 'tiny'
}

/** What was dropped as a model: a zip alone, else a folder or the files of one. */
export function modelIn(name: string, files: Readonly<Record<string, Blob>>): ModelRef {
  const [path, file] = Object.entries(files)[0] ?? []
  const isZip = path !== undefined && Object.keys(files).length === 1 && /\.zip$/i.test(path)
  return isZip ? { kind: 'zip', name: path, file: file! } : { kind: 'files', name, files }
}
