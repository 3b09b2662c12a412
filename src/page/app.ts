/** What all views share: the device that was chosen, workers, and a voice for screen readers. */

import type { ProviderName } from '../web/engine.ts'
import { type Desk, openDesk } from './desk.ts'

/** What a view is given. */
export interface App {
  /** The device that jobs shall run on now. */
  device(): ProviderName
  /** A worker by name, e.g. the view's own; the same name is the same worker. */
  desk(name: string): Desk
  /** All views, for links to them. */
  readonly views: readonly ViewEntry[]
  /** Says a sentence to screen readers, politely. */
  announce(sentence: string): void
}

/** A view as it is shown; it lives on while others are looked at. */
export interface Mounted {
  readonly element: HTMLElement
  /** Called each time that the view is shown. */
  shown?(): void
}

/** What the table of views has of each. */
export interface ViewEntry {
  /** After the # in the address. */
  readonly path: string
  readonly title: string
  /** One sentence on what one can do there. */
  readonly about: string
  /** Loads its program when it is first shown. */
  load(): Promise<{ open(app: App): Mounted }>
}

/** What this browser offers. */
export interface Machine {
  readonly webgpu: boolean
  readonly isolated: boolean
  readonly cores: number
}

/** Looks at the browser; an adapter that computes on the CPU does not count as WebGPU. */
export async function lookAround(): Promise<Machine> {
  return {
    webgpu: await hasGpu(),
    isolated: globalThis.crossOriginIsolated === true,
    cores: navigator.hardwareConcurrency ?? 1,
  }
}

interface Adapter {
  readonly info?: { readonly isFallbackAdapter?: boolean; readonly architecture?: string }
}

async function hasGpu(): Promise<boolean> {
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } }
  const adapter = await gpu?.requestAdapter().catch(() => null)
  return Boolean(adapter) && adapter?.info?.isFallbackAdapter !== true && adapter?.info?.architecture !== 'swiftshader'
}

/** Reads and keeps small choices; a browser that stores nothing forgets them. */
export const choices = {
  get(name: string): string | undefined {
    try {
      return localStorage.getItem(`hedgehog.${name}`) ?? undefined
    } catch {
      return undefined
    }
  },
  set(name: string, value: string): void {
    try {
      localStorage.setItem(`hedgehog.${name}`, value)
    } catch {
      // It then lasts as long as the page.
    }
  },
}

/** Workers by name. */
export function deskRoom(): (name: string) => Desk {
  const desks = new Map<string, Desk>()
  return (name) => {
    const found = desks.get(name) ?? openDesk()
    desks.set(name, found)
    return found
  }
}
