package RamPipe::Plan;

# Compares an upper layer with the directory on disk and finds out which directories
# and files of the merged tree are which on disk. Changes nothing.
#
# A directory of the merged tree, or one on disk that others are found below, is a hash:
#   inode                 on disk; 0: not there yet
#   old_parent, old_name, old_path   where it is on disk
#   new_parent, new_name  where it shall be
#   upper, upper_path     its entry in the upper layer
#   attributes            what it shall have, and differs: it has not
#   touched               something is put into it or taken out of it on disk
#   lost                  others have taken away, or the place of, what it was on disk
#   below                 path on disk where the overlay looks for more of it; undef if nowhere
#   leans                 that is a former path of it
# A file with all its names is a hash:
#   upper                 its entry in the upper layer
#   names                 list of hashes of dir, name, and lower: what has the name on disk;
#                         above: its name in upper, another one if others have taken that on disk
#   index_name            its name in the index if it has none in upper
#   lower                 the file on disk that it is; undef if it is new; origin: its handle
#   mapped                its times are not to be believed

use strict;
use warnings;
use Errno qw(ENOENT ENOTDIR ELOOP ESTALE EOPNOTSUPP EINVAL);
use RamPipe::Attributes qw(attributes_of same_attributes);
use RamPipe::Disk ();
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::RedoLog qw(is_name);
use RamPipe::Text qw(shown);
use RamPipe::Upper ();

# drift: what others have changed on disk (RamPipe::Drift). clean: of files that an earlier plan has brought to disk, by inode number in upper,
# what both were then (see RamPipe::Sync).
sub look {
    my ($class, %given) = @_;
    my $self = bless {
        %given,    # place, upper, drift, mapped, clean
        by_lower => {}, redirected => {}, claimed => {}, astray => {},
        taken => {},    # files on disk that are known to be ones in upper
        going => {},    # what is removed on disk, with all that is in it
        directories => [], nodes => {}, order => [], removals => [],
        seen => { entries => [], newest => 0 },
    }, $class;
    my ($place, $upper) = @{$self}{qw(place upper)};
    my $root = $self->{root} = { new_dir(), inode => $place->{stat}{inode}, below => '' };
    $self->{by_lower}{ $root->{inode} } = $root;
    $self->find_redirects($upper->{root}, $root, $root, '') if $upper->whole_directory;
    $root->{upper} = stat_of($upper->{root});
    RamPipe::Upper::add($self->{seen}, 0, '', $root->{upper});
    push @{ $self->{directories} }, $root;
    $self->walk($upper->{root}, $root, $place->{directory}, 0);
    $self->compare_attributes($upper->{root}, $root, $place->{directory}) if $upper->whole_directory;
    $self->look_at_index;
    $self->identify;
    $self->mark_touched;
    return $self;
}

sub new_dir {
    return (inode => 0, old_parent => undef, old_name => '', old_path => '', new_parent => undef, new_name => '',
        upper_path => '', touched => 0, lost => 0, leans => 0, differs => 0, staged => '', id => undef, below => undef);
}

sub is_new { return !$_[0]{inode} }

sub moved {
    my $d = shift;
    return $d->{inode} && $d->{new_parent} && $d->{old_parent}
        && ($d->{new_parent} != $d->{old_parent} || $d->{new_name} ne $d->{old_name});
}

# Whether there are directories that must not change places on disk as long as the overlay is
# mounted.
sub leaning { my $self = shift; return scalar grep { $_->{leans} && (is_new($_) || moved($_)) } @{ $self->{directories} } }

sub nodes { my $self = shift; return map { $self->{nodes}{$_} // () } @{ $self->{order} } }

# Path below the target when all is done.
sub new_path { my $d = shift; return $d->{new_parent} ? joined(new_path($d->{new_parent}), $d->{new_name}) : '' }

sub joined { my ($path, $name) = @_; return $path eq '' ? $name : "$path/$name" }

# Renamed directories

# Which directories on disk are parts of renamed ones, and so are not what their names say. A
# daemon absorbs renamed directories, so that it can move them on disk while the overlay is
# mounted: all that is in them is in upper, they are opaque, and the redirect is left only to tell
# which they are on disk.
# lower: what the directory merges with; place: what is on disk where it belongs; undef if
# nothing. path: where the overlay looks for more below it; undef if it does not.
sub find_redirects {
    no warnings 'recursion';
    my ($self, $dir, $lower, $place, $path) = @_;
    for my $name (list_names($dir)) {
        next if !is_directory(RamPipe::Upper::stat_in($dir, $name));
        my $sub = RamPipe::Upper::open_in($dir, $name, RamPipe::Upper::READ | O_DIRECTORY);
        my $below;
        my $redirect = RamPipe::Upper::redirect($sub);
        my $more     = below($path, $name, $sub);
        if (defined $redirect && (defined $more || $self->{upper}{mask})) {
            $below = $self->redirected($sub, $lower, $place, $path, $name, $redirect);
        } elsif ($lower && !RamPipe::Upper::is_opaque($sub)) {
            $below = $self->lower($lower, $name);
        }
        $self->find_redirects($sub, $below, $below || $place && $self->there($place, $name), $more);
    }
    return;
}

# Where the overlay looks for more of a directory: where its redirect leads, or by its name;
# undef if nowhere. path: the same of the one that it is in.
sub below {
    my ($path, $name, $sub) = @_;
    return if RamPipe::Upper::is_opaque($sub);
    return led($path, RamPipe::Upper::redirect($sub) // $name);
}

# Where a redirect, or a name, leads from a path.
sub led {
    my ($path, $redirect) = @_;
    return $redirect =~ s{^/+}{}r if $redirect =~ m{^/};
    return defined $path ? joined($path, $redirect) : undef;
}

# The directory on disk that a renamed one is: where its redirect leads. Unless it has been
# taken to its place already, where another may be now: by a run that was cut short, or
# because it has been absorbed. Which it was copied up from tells (origin).
# lower: what the one merges with that it is in; place: what is on disk where that one belongs;
# undef if nothing.
sub redirected {
    my ($self, $sub, $lower, $place, $path, $name, $redirect) = @_;
    my $mask   = $self->{upper}{mask};
    my $was    = led($path, $redirect);
    my $origin = $self->origin($sub, $was);
    my $below  = $self->lower($redirect =~ m{^/} ? $self->{root} : $lower, $redirect);
    my $found  = sub { return $origin && $below && $below->{inode} == $origin };
    if ($origin && !$found->()) {
        my $after = $place && $self->there($place, $name);
        $below = $after if $after && $after->{inode} == $origin;
    }
    my $ours = !defined below($path, $name, $sub) || $self->is_absorbed($was);
    if ($origin && $mask && !$found->()) {
        my $now  = $self->wherever($was, $origin);
        my $here = defined $now && $now ne '' ? $self->lower($self->{root}, $now) : undef;
        # What has the name by now is another one.
        $below = $here && $here->{inode} == $origin ? $here : undef;
        $ours ||= defined $now && $now eq '';
    } elsif (!$origin && $ours) {
        undef $below;
    }
    my $inode = stat_of($sub)->{inode};
    RamPipe::Error::moving(shown($name)) if $self->{redirected}{$inode};
    if ($below && $self->{claimed}{ $below->{inode} }++) {
        # Others renamed it on disk, and it was renamed once more in RAM, from there: it shows under
        # both names, and can have but one on disk.
        undef $below;
        undef $ours;
    }
    if ($below) {
        $self->{redirected}{$inode} = $below;
    } elsif (!$ours) {
        $self->{astray}{$inode} = 1;
    }
    return $below;
}

# Where a directory on disk is now that had a path there when it was pinned: below the target;
# '' if an earlier syncback has taken it away; undef if it is gone, or elsewhere, or cannot be
# found.
sub wherever {
    my ($self, $was, $origin) = @_;
    my $handle = $self->{upper}{mask}->handle($was) // return;
    my $fd = eval { open_handle($self->{place}{disk}{root}, $handle, O_PATH) };
    if (!$fd) {
        return if cannot_lead_anywhere($@);
        die $@;
    }
    return if stat_of($fd)->{inode} != $origin;
    my ($top, $path) = map { readlink $_->magic_path } $self->{place}{directory}, $fd;
    return                                if !defined $top || !defined $path;
    return substr $path, length "$top/" if index($path, "$top/") == 0;
    return index($path, '/' . RamPipe::Disk::HOME . '/') == 0 ? '' : undef;
}

# Whether a directory, or one that it was in, has been absorbed.
sub is_absorbed {
    my ($self, $was) = @_;
    return 0 if !$self->{upper}{mask};
    if (!$self->{absorbed}) {
        $self->{absorbed} = [];
        $self->find_absorbed($self->{upper}{root}, '');
    }
    return scalar grep { $_ eq $was || index($was, "$_/") == 0 } @{ $self->{absorbed} };
}

# path: as in find_redirects.
sub find_absorbed {
    no warnings 'recursion';
    my ($self, $dir, $path) = @_;
    for my $name (list_names($dir)) {
        next if !is_directory(RamPipe::Upper::stat_in($dir, $name));
        my $sub      = RamPipe::Upper::open_in($dir, $name, RamPipe::Upper::READ | O_DIRECTORY);
        my $redirect = RamPipe::Upper::redirect($sub);
        my $was      = defined $redirect ? led($path, $redirect) : undef;
        push @{ $self->{absorbed} }, $was if defined $was && RamPipe::Upper::is_opaque($sub);
        $self->find_absorbed($sub, scalar below($path, $name, $sub));
    }
    return;
}

# Inode number of the directory on disk that it was copied up from; 0 if it is not known.
sub origin {
    my ($self, $sub, $path) = @_;
    my $mask = $self->{upper}{mask};
    return defined $path ? $mask->inode($path) : 0 if $mask;
    my $handle = RamPipe::Upper::origin($sub);
    return 0 if !defined $handle;
    my $s = eval { stat_of(open_handle($self->{place}{disk}{root}, $handle, O_PATH)) };
    return $s && $s->{device} == $self->{place}{stat}{device} ? $s->{inode} : 0 if $s || cannot_lead_anywhere($@);
    die $@;
}

# Whether that is why a file handle was not opened.
sub cannot_lead_anywhere { return RamPipe::Error::failed($_[0], ESTALE, ENOENT, EOPNOTSUPP, EINVAL) }

# The directory on disk under that name, or, if others have taken the name, under that of
# a copy.
sub there {
    my ($self, $dir, $name) = @_;
    my $found = $self->lower($dir, $name);
    return $found if $found || !$self->{drift}->known;
    my $disk = $self->open_lower($dir);
    for (my $i = 1; !$found; $i++) {
        my $copy = $self->{drift}->conflict_name($name, $i);
        return if !exists_at($disk, $copy);
        $found = $self->lower($dir, $copy);
    }
    return $found;
}

# A directory on disk by its path there, or undef if there is none.
sub lower {
    my ($self, $dir, $path) = @_;
    for my $name (grep { $_ ne '' } split m{/}, $path) {
        return if !$dir || !is_name($name);
        my $below = joined($dir->{old_path}, $name);
        my $fd = eval { open_beneath_same_mount($self->{place}{directory}, $below, O_PATH | O_DIRECTORY) };
        if (!$fd) {
            return if RamPipe::Error::failed($@, ENOENT, ENOTDIR, ELOOP);
            die $@;
        }
        my $s = stat_of($fd);
        return if $self->{drift}->changed($dir->{inode}, $name, $s);
        $dir = $self->lower_dir($dir, $name, $s);
    }
    return $dir;
}

sub lower_dir {
    my ($self, $parent, $name, $stat) = @_;
    return $self->{by_lower}{ $stat->{inode} } ||= {
        new_dir(), inode => $stat->{inode}, old_parent => $parent, old_name => $name,
        old_path => joined($parent->{old_path}, $name),
    };
}

# Names

# disk: the directory on disk; undef if there is none yet. complete: whether nothing but
# what is in upper shall remain.
sub walk {
    no warnings 'recursion';
    my ($self, $dir, $own, $disk, $complete) = @_;
    my %rest = $complete && $disk ? map { $_ => 1 } list_names($disk) : ();
    my @names = $self->{upper}->names($dir);
    for my $name (@names) {
        my $s = RamPipe::Upper::stat_in($dir, $name);
        RamPipe::Upper::add($self->{seen}, $own->{upper}{inode}, $name, $s);
        my $below = $disk ? exists_at($disk, $name) : undef;
        delete $rest{$name};
        if (!is_directory($s) && RamPipe::Upper::is_whiteout($dir, $name, $s)) {
            $self->remove($own, $disk, $name, $below);
            next;
        }
        my $on_disk = $name;
        ($on_disk, $below) = $self->spot($dir, $own, $disk, \@names, $name, $s, $below) if $disk;
        if (is_directory($s)) {
            $self->directory($dir, $own, $disk, $complete, $name, $s, $on_disk, $below);
        } else {
            $self->file($own, $disk, $name, $s, $on_disk, $below);
        }
    }
    my $mask = $self->{upper}{mask};
    if ($mask && $disk && !$complete && defined $own->{below}) {
        # Deleted since they were put on disk, and hidden there.
        %rest = map { $_ => 1 } $mask->hidden($own->{below});
        delete @rest{@names};
    }
    for my $name (grep { !$self->{drift}->is_conflict_name($_) } sort keys %rest) {
        $self->remove($own, $disk, $name, exists_at($disk, $name));
    }
    return;
}

# Where something in upper goes on disk, and what is there: to its own name, unless others
# have changed that.
sub spot {
    my ($self, $dir, $own, $disk, $names, $name, $s, $below) = @_;
    my $drift = $self->{drift};
    return ($name, $below) if !$drift->known || !$self->conflicts($own, $disk, $name, $below, $s);
    my $path = joined(new_path($own), $name);
    if (!$below) {
        $drift->report($path, '', 'was moved or removed on disk by others; '
                . (is_directory($s) ? 'what had been changed in it in RAM is there again'
                    : 'it is there again, as it is in RAM'));
        return ($name, $below);
    }
    if (agree($dir, $name, $s, $disk, $below)) {
        $drift->agreed($own->{inode}, $name, $below);
        return ($name, $below);
    }
    my %taken = map { $_ => 1 } @$names;
    for (my $i = 1;; $i++) {
        my $copy  = $drift->conflict_name($name, $i);
        my $there = exists_at($disk, $copy);
        next if $taken{$copy} || $there && $drift->changed($own->{inode}, $copy, $there);
        $drift->report($path, joined(new_path($own), $copy), 'was changed on disk by others; the version in RAM is kept as');
        return ($copy, $there);
    }
}

# Whether others have changed what has the name on disk, where it is in the way.
sub conflicts {
    my ($self, $own, $disk, $name, $below, $s) = @_;
    my $changed = $self->{drift}->changed($own->{inode}, $name, $below);
    return $changed if !$below || !is_directory($below);
    return 0        if $self->{claimed}{ $below->{inode} };    # it goes elsewhere
    my $child = $self->{redirected}{ $s->{inode} };
    my $stays = is_directory($s) && (!$child || $child->{inode} == $below->{inode});
    return $changed || !$stays && $self->{drift}->changed_below($disk, $name, {});
}

# Whether a file is the same on disk and in RAM, whoever has put it there. Whatever keeps
# it from being looked at: it is not known to agree.
sub agree {
    my ($dir, $name, $s, $disk, $below) = @_;
    return 0 if $s->{type} != $below->{type} || is_directory($s) || $s->{size} != $below->{size};
    return eval {
        my $flags = is_regular($s) ? RamPipe::Upper::READ | O_NONBLOCK : O_PATH | O_NOFOLLOW;
        my ($above, $lower) = (open_at($dir, $name, $flags), open_at($disk, $name, $flags));
        my $now = stat_of($lower);
        unchanged($now, $below)
            && same_attributes(attributes_of($above, $s), attributes_of($lower, $now), is_symlink($s))
            && (is_regular($s) ? same_data($above, $lower, $s->{size})
                : is_symlink($s) ? readlink_of($above) eq readlink_of($lower)
                : same_device($s, $below));
    };
}

sub same_data {
    my ($above, $lower, $size) = @_;
    for (my $at = 0; $at < $size; $at += 1 << 20) {
        return 0 if read_at($above, 1 << 20, $at) ne read_at($lower, 1 << 20, $at);
    }
    return 1;
}

sub same_device { my ($x, $y) = @_; return $x->{rdev_major} == $y->{rdev_major} && $x->{rdev_minor} == $y->{rdev_minor} }

sub directory {
    no warnings 'recursion';
    my ($self, $dir, $own, $disk, $complete, $name, $s, $on_disk, $below) = @_;
    my $sub            = RamPipe::Upper::open_in($dir, $name, RamPipe::Upper::READ | O_DIRECTORY);
    my $child          = $self->{redirected}{ $s->{inode} };
    my $child_complete = RamPipe::Upper::is_opaque($sub);
    if (!$child) {
        if ($below && is_directory($below) && !$self->{claimed}{ $below->{inode} }) {
            $self->same_mount($name, $below);
            $child          = $self->lower_dir($own, $on_disk, $below);
            $child_complete ||= $complete || $on_disk ne $name;
        } else {
            my $astray = $self->{astray}{ $s->{inode} };
            $child          = { new_dir() };
            $child_complete = 1;
            $child->{lost}  = $own->{lost} || $astray || $on_disk ne $name
                || !$below && $self->{drift}->had($own->{inode}, $name);
            $self->{drift}->report(joined(new_path($own), $on_disk), '',
                'was moved or removed on disk by others under its former name; here is only what had been changed in RAM')
                if $astray;
        }
    }
    # Renamed while it was looked at, to a name that was still to come: in RAM, or on disk by others.
    RamPipe::Error::moving(shown($name)) if $child->{new_parent};
    $self->remove($own, $disk, $on_disk, $below) if $below && $below->{inode} != $child->{inode};
    @{$child}{qw(new_parent new_name upper_path upper below)}
        = ($own, $on_disk, joined($own->{upper_path}, $name), $s, scalar below($own->{below}, $name, $sub));
    $child->{leans} = defined $child->{below} && !$self->{astray}{ $s->{inode} } && defined RamPipe::Upper::redirect($sub);
    push @{ $self->{directories} }, $child;
    my $child_disk = is_new($child) ? undef : $self->open_lower($child);
    $self->walk($sub, $child, $child_disk, $child_complete);
    $self->compare_attributes($sub, $child, $child_disk);
    return;
}

sub open_lower {
    my ($self, $d) = @_;
    my $fd = open_beneath_same_mount($self->{place}{directory}, $d->{old_path}, O_RDONLY | O_DIRECTORY);
    RamPipe::Error::refused(shown($d->{old_path}) . ' was replaced on disk while being compared')
        if stat_of($fd)->{inode} != $d->{inode};
    return $fd;
}

sub same_mount {
    my ($self, $name, $below) = @_;
    my $s = $self->{place}{stat};
    RamPipe::Error::refused(shown($name) . ' on disk is on another file system than the target')
        if $below->{mount} != $s->{mount} || $below->{device} != $s->{device};
    return;
}

sub compare_attributes {
    my ($self, $sub, $d, $disk) = @_;
    my $drift = $self->{drift};
    my $now   = $disk && stat_of($disk);
    if ($now && $drift->knows($now) && $drift->changed_itself($now)) {
        # Others gave it another owner or mode, and theirs stay.
        $d->{attributes} = attributes_of($disk, $now);
        $drift->keep_attributes($now->{inode});
        $drift->report($d->{new_parent} ? new_path($d) : '.', '',
            'has another owner or mode since others changed it on disk, which stays; so that from RAM is lost')
            if !$drift->had_mode_of($now->{inode}, stat_of($sub));
        return;
    }
    $d->{attributes} = attributes_of($sub, stat_of($sub));
    $d->{differs} = !$disk || !same_attributes($d->{attributes}, attributes_of($disk, $now), 0);
    return;
}

sub remove {
    my ($self, $dir, $disk, $name, $below) = @_;
    # A renamed directory is not removed here; it is taken to its new place.
    return if !$below || is_directory($below) && $self->{claimed}{ $below->{inode} };
    $self->same_mount($name, $below) if is_directory($below);
    my $drift = $self->{drift};
    my %inside;
    if ($drift->changed($dir->{inode}, $name, $below)
        || is_directory($below) && $drift->changed_below($disk, $name, \%inside)) {
        $drift->report(joined(new_path($dir), $name), '', 'was removed in RAM, but changed on disk by others, and stays');
        return;
    }
    $self->{going}{$_} = 1 for keys %inside, $below->{inode};
    push @{ $self->{removals} }, { dir => $dir, name => $name, lower => $below };
    return;
}

sub file {
    my ($self, $dir, $disk, $name, $s, $on_disk, $below) = @_;
    if ($below && is_directory($below)) {
        $self->remove($dir, $disk, $on_disk, $below);
        undef $below;
    }
    my $clean = $self->{clean}{ $s->{inode} };
    if ($clean && $below && $clean->{upper}->($s) && $clean->{lower}->($below)) {
        $self->{taken}{ $below->{inode} } = 1;
        return;
    }
    push @{ $self->node($s)->{names} }, { dir => $dir, name => $on_disk, lower => $below, above => $name };
    return;
}

sub node {
    my ($self, $s) = @_;
    return $self->{nodes}{ $s->{inode} } ||= do {
        push @{ $self->{order} }, $s->{inode};
        { upper => $s, names => [] };
    };
}

# Which file is which

sub look_at_index {
    my $self = shift;
    for my $entry ($self->{upper}->only_in_index) {
        my ($name, $s) = @$entry;
        RamPipe::Upper::add($self->{seen}, -1, $name, $s);
        $self->node($s)->{index_name} = $name;
    }
    return;
}

# The very file in upper that was found before; if it must be, unchanged since.
sub open_upper {
    my ($self, $n, $flags, $must) = @_;
    my $fd;
    if (defined $n->{index_name}) {
        $fd = RamPipe::Upper::open_in($self->{upper}{index}, $n->{index_name}, $flags);
    } else {
        my $name = $n->{names}[0];
        $fd = RamPipe::Upper::open_in($self->{upper}->open_path($name->{dir}{upper_path}), $name->{above}, $flags);
    }
    my $s = stat_of($fd);
    RamPipe::Error::moving("$fd") if $must ? !unchanged($s, $n->{upper}) : !same_file($s, $n->{upper});
    return $fd;
}

sub identify {
    my $self = shift;
    my $taken = $self->{taken};
    $self->by_origin($_, $taken) for $self->nodes;
    for my $n ($self->nodes) {
        by_name($n, $taken) if !$n->{lower} && is_regular($n->{upper});
        $n->{mapped} = grep { $self->{mapped}{$_} } $n->{upper}{inode}, $n->{lower} ? $n->{lower}{inode} : (),
            map { $_->{lower} ? $_->{lower}{inode} : () } @{ $n->{names} };
    }
    for my $n ($self->nodes) {
        delete $self->{nodes}{ $n->{upper}{inode} } if !@{ $n->{names} } && !$n->{lower};
    }
    return;
}

# How many of its names that file has on disk.
sub count_names {
    my ($n, $inode) = @_;
    return scalar grep { $_->{lower} && $_->{lower}{inode} == $inode } @{ $n->{names} };
}

# It was copied up from there.
sub by_origin {
    my ($self, $n, $taken) = @_;
    my $fd = $self->open_upper($n, O_PATH | O_NOFOLLOW, 0);
    RamPipe::Upper::refuse_metacopy($fd);
    my $origin = RamPipe::Upper::origin($fd);
    return if !defined $origin;
    my $below = eval { open_handle($self->{place}{disk}{root}, $origin, O_PATH) };
    if (!$below) {
        return if cannot_lead_anywhere($@);
        die $@;
    }
    my $s = stat_of($below);
    return $self->keep_indexed($n, $s) if $self->{drift}->changed_itself($s);
    return if !$self->is_ours($n, $s);
    return if $s->{device} != $self->{place}{stat}{device} || $s->{type} != $n->{upper}{type} || $s->{links} == 0;
    # Without an index copying up splits hard links.
    return if !$self->{upper}{index} && $s->{links} != 1 && $s->{links} != count_names($n, $s->{inode});
    return if is_symlink($s) && readlink_of($fd) ne readlink_of($below);
    return if ($s->{type} == S_IFCHR || $s->{type} == S_IFBLK)
        && !same_device($s, $n->{upper});
    return if $taken->{ $s->{inode} }++;
    @{$n}{qw(lower origin)} = ($s, $origin);
    return;
}

# A file in the index has no name in upper by which it could be kept beside that on disk,
# which others have changed: it gets one in the target's own directory.
sub keep_indexed {
    my ($self, $n, $below) = @_;
    return if !defined $n->{index_name} || !$below->{links} || !$self->{upper}->whole_directory;
    my $name = "inode-$below->{inode}";
    for (my $i = 1;; $i++) {
        my $copy  = $self->{drift}->conflict_name($name, $i);
        my $there = exists_at($self->{place}{directory}, $copy);
        next if $there && $self->{drift}->changed($self->{root}{inode}, $copy, $there);
        $self->{drift}->report($name, $copy, '(a file by the number of its inode, all of whose names are on disk)'
                . ' was changed on disk by others; the version in RAM is kept as');
        push @{ $n->{names} }, { dir => $self->{root}, name => $copy, lower => $there, above => $copy };
        return;
    }
}

# Whether the file below, which others have not changed, is still where it was: else it
# would be changed where they have put it. A name of its own, or one that is removed, shows
# that; of several names others may be nobody's business here.
sub is_ours {
    my ($self, $n, $below) = @_;
    return 1 if !$self->{drift}->known;
    return 0 if grep { $_->{dir}{lost} } @{ $n->{names} };
    return $below->{links} > 1 || defined $n->{index_name} || count_names($n, $below->{inode}) || $self->{going}{ $below->{inode} };
}

# It has replaced a file of the same name, which has no other names: then that file may
# as well get the new data. Programs that wait to open it, held off by a lease, will
# have found that very file.
sub by_name {
    my ($n, $taken) = @_;
    for my $name (@{ $n->{names} }) {
        my $s = $name->{lower} or next;
        next if !is_regular($s) || $s->{links} != count_names($n, $s->{inode}) || $taken->{ $s->{inode} };
        $taken->{ $s->{inode} } = 1;
        $n->{lower} = $s;
        return;
    }
    return;
}

sub mark_touched {
    my $self = shift;
    $_->{dir}{touched} = 1 for @{ $self->{removals} };
    for my $d (@{ $self->{directories} }) {
        $d->{new_parent}{touched} = 1
            if $d->{new_parent} && (is_new($d) ? !is_new($d->{new_parent}) : moved($d));
        if (moved($d)) {
            $d->{old_parent}{touched} = 1;
            $d->{touched} = 1;
        }
    }
    return;
}

1;
