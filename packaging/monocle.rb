# Homebrew's formula. `cargo xtask dist` writes it from packaging/monocle.rb: version, address and hashes.
class Monocle < Formula
  desc "Runs vision-language models: pictures and words in, words out"
  homepage "@FROM@"
  version "@VERSION@"
  license "MIT"

  # What an archive holds stays together: the program looks for the rest beside its own folder.
@ARCHIVES@

  def install
    libexec.install Dir["*"]
    bin.install_symlink libexec/"bin/monocle"
    man1.install_symlink Dir[libexec/"share/man/man1/*.1"]
    bash_completion.install_symlink libexec/"share/bash-completion/completions/monocle"
    zsh_completion.install_symlink libexec/"share/zsh/site-functions/_monocle"
    fish_completion.install_symlink libexec/"share/fish/vendor_completions.d/monocle.fish"
  end

  test do
    picture = libexec/"share/monocle/models/shapes/pictures/shapes.png"
    assert_match "triangle", shell_output("#{bin}/monocle run shapes #{picture} --plain")
  end
end
