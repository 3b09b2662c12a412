/** The process in which `hedgehog doctor` examines a provider that may end it. */

import type { DeviceName } from './device.ts'
import { providerHealth } from './doctor.ts'

const health = await providerHealth(process.argv[2] as DeviceName, () => performance.now() / 1000)
process.send!(health, () => process.exit(0))
