/** When a GPU goes away: an engine's call may fail before the browser says so, or never end. */

/** The part of a GPUDevice that tells of its end. */
export interface LosableDevice {
  readonly lost: Promise<{ readonly message: string; readonly reason?: string }>
}

/** Whether a GPU is still there. */
export interface GpuLoss {
  /** Follows the device that is computed on. */
  watch(device: LosableDevice): void
  /** The result of an engine's call, or its failure as soon as the GPU is lost. */
  unless<T>(call: Promise<T>): Promise<T>
  /** Why the GPU was lost, asked after a failure; undefined where it was not. */
  reason(): Promise<string | undefined>
}

/** Milliseconds in which the browser says that it lost the GPU, after a call failed by it. */
const patience = 250

/** Follows no device until it is told which. */
export function gpuLoss(): GpuLoss {
  let lost: Promise<string> | undefined
  const pending = new Set<(error: Error) => void>()
  return {
    watch(device) {
      lost = device.lost.then(({ message, reason }) => message || reason || 'no reason given')
      void lost.then((why) => {
        for (const fail of pending) fail(new Error(`the device was lost: ${why}`))
      })
    },
    unless: (call) =>
      new Promise((resolve, fail) => {
        pending.add(fail)
        void call.then(resolve, fail).finally(() => pending.delete(fail))
      }),
    async reason() {
      if (!lost) return undefined
      let timer: ReturnType<typeof setTimeout>
      const waited = new Promise<undefined>((done) => {
        timer = setTimeout(done, patience, undefined)
      })
      return await Promise.race([lost, waited]).finally(() => clearTimeout(timer))
    },
  }
}
