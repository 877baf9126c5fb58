/** Light or dark: as the system has it, or as people choose here. */
import { byId } from './dom.js'

const key = 'magicmix-theme'

export function chooseTheme(): void {
  const select = byId<HTMLSelectElement>('theme')
  const apply = () => {
    if (select.value === '') delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = select.value
  }
  select.value = localStorage.getItem(key) ?? ''
  apply()
  select.addEventListener('change', () => {
    localStorage.setItem(key, select.value)
    apply()
  })
}
