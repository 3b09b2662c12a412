/** The choice of a device. */

import type { ProviderName } from '../web/engine.ts'

/** The device that jobs run on. */
export interface DeviceChoice {
  readonly device: ProviderName
}
